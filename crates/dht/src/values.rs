//! Values of others: which are valid, which of two is the better, and the ones
//! that we keep. Spec: ipfs/specs `routing/kad-dht.md`, "Validation"; go's
//! namespaced validator.
//!
//! A key is `/namespace/` and bytes. `/pk/` and `/ipns/` are built in. Another
//! namespace is a [`Validator`] in the configuration; what has none is
//! refused, whether told, asked or found.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use peerage_base::{Now, PackedMap, UnixTime};
use peerage_identity::{PeerId, PublicKey};

use crate::ipns::Names;
use crate::key::{Distance, Key};
use crate::limits::{Config, KEY_MAX, VALUE_MAX};
use crate::message::Record;
use crate::reach::Group;

/// Why a value is none. The fault of whoever sent it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ValueError {
    /// The key has no namespace, or one without a validator.
    #[error("a key of an unknown namespace")]
    Namespace,
    /// The key's bytes are not what its namespace wants.
    #[error("a malformed key")]
    Key,
    /// The value is not what its namespace wants, or not signed for this key.
    #[error("an invalid value")]
    Value,
    /// It was valid once.
    #[error("an expired value")]
    Expired,
    /// Over [`KEY_MAX`] or [`VALUE_MAX`].
    #[error("a value of over {VALUE_MAX} bytes, or a key of over {KEY_MAX}")]
    TooLarge,
}

/// What decides about the values of one namespace. Pure: the same arguments
/// give the same answer.
pub trait Validator: fmt::Debug + Send + Sync {
    /// Whether `value` may stand under the key that ends in `name`, the bytes
    /// behind the namespace.
    ///
    /// # Errors
    /// Why it may not.
    fn validate(&self, name: &[u8], value: &[u8], now: Now) -> Result<(), ValueError>;

    /// Which of two valid values is better: `Greater` if it is `left`.
    fn compare(&self, name: &[u8], left: &[u8], right: &[u8]) -> Ordering;
}

/// `/pk/` and a peer id's bytes: that peer's public key. All valid ones are equal.
#[derive(Debug)]
struct PublicKeys;

impl Validator for PublicKeys {
    fn validate(&self, name: &[u8], value: &[u8], _now: Now) -> Result<(), ValueError> {
        let peer = PeerId::from_bytes(name).map_err(|_| ValueError::Key)?;
        let key = PublicKey::from_protobuf(value).map_err(|_| ValueError::Value)?;
        if key.peer_id() == peer { Ok(()) } else { Err(ValueError::Value) }
    }

    fn compare(&self, _name: &[u8], _left: &[u8], _right: &[u8]) -> Ordering {
        Ordering::Equal
    }
}

/// The validators by namespace.
#[derive(Debug)]
pub(crate) struct Validators(PackedMap<&'static str, Arc<dyn Validator>>);

impl Validators {
    pub(crate) fn new(config: &Config) -> Self {
        let mut all: PackedMap<&'static str, Arc<dyn Validator>> = PackedMap::new();
        for (name, validator) in &config.validators {
            all.insert(*name, Arc::clone(validator));
        }
        all.or_insert_with("ipns", || Arc::new(Names));
        all.or_insert_with("pk", || Arc::new(PublicKeys));
        Self(all)
    }

    fn of<'k>(&self, key: &'k [u8]) -> Result<(&dyn Validator, &'k [u8]), ValueError> {
        let rest = key.strip_prefix(b"/").ok_or(ValueError::Namespace)?;
        let slash = rest.iter().position(|&byte| byte == b'/').ok_or(ValueError::Namespace)?;
        let namespace = std::str::from_utf8(&rest[..slash]).map_err(|_| ValueError::Namespace)?;
        let validator = self.0.get(namespace).ok_or(ValueError::Namespace)?;
        Ok((&**validator, &rest[slash + 1..]))
    }

    /// Whether there may be values under this key at all.
    pub(crate) fn knows(&self, key: &[u8]) -> Result<(), ValueError> {
        if key.len() > KEY_MAX {
            return Err(ValueError::TooLarge);
        }
        self.of(key).map(drop)
    }

    pub(crate) fn validate(&self, record: &Record, now: Now) -> Result<(), ValueError> {
        self.knows(&record.key)?;
        if record.value.len() > VALUE_MAX {
            return Err(ValueError::TooLarge);
        }
        let (validator, name) = self.of(&record.key)?;
        validator.validate(name, &record.value, now)
    }

    /// Which of two valid values of one key is better.
    pub(crate) fn compare(&self, key: &[u8], left: &[u8], right: &[u8]) -> Ordering {
        self.of(key).map_or(Ordering::Equal, |(validator, name)| validator.compare(name, left, right))
    }
}

/// Who asks us to keep a value.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sender {
    pub(crate) peer: PeerId,
    /// Of the connection by which it asks; none where groups do not matter.
    pub(crate) group: Option<Group>,
}

#[derive(Debug)]
struct Stored {
    record: Record,
    received: UnixTime,
    sender: Sender,
}

/// Why a value is not kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refused {
    #[error("{0}")]
    Invalid(#[from] ValueError),
    #[error("a better value is stored")]
    Older,
    #[error("no room")]
    Full,
}

/// The values that others asked us to keep, nearest to us first.
#[derive(Debug)]
pub(crate) struct Values {
    local: Key,
    validity: u64,
    per_sender: usize,
    /// Values and bytes of one IP group.
    per_group: (usize, usize),
    max: usize,
    bytes_max: usize,
    stored: BTreeMap<Distance, Stored>,
    bytes: usize,
    senders: BTreeMap<PeerId, usize>,
    /// Values and bytes of each IP group.
    groups: BTreeMap<Group, (usize, usize)>,
}

impl Values {
    pub(crate) fn new(local: Key, config: &Config) -> Self {
        Self {
            local,
            validity: config.value_validity,
            per_sender: config.values_per_sender,
            per_group: (config.values_per_group, config.values_bytes_per_group),
            max: config.values_max,
            bytes_max: config.values_bytes_max,
            stored: BTreeMap::new(),
            bytes: 0,
            senders: BTreeMap::new(),
            groups: BTreeMap::new(),
        }
    }

    /// The value under a key, unless it has expired by our rule or its own.
    pub(crate) fn get(&self, key: &[u8], validators: &Validators, now: Now) -> Option<&Record> {
        let stored = self.stored.get(&self.local.distance(&Key::of(key)))?;
        let fresh = !self.expired(stored.received, now.unix);
        Some(&stored.record).filter(|record| fresh && validators.validate(record, now).is_ok())
    }

    /// Keeps a value unless a better one is here; makes room by what is
    /// furthest from us.
    pub(crate) fn put(
        &mut self,
        sender: Sender,
        record: &Record,
        validators: &Validators,
        now: Now,
    ) -> Result<(), Refused> {
        validators.validate(record, now)?;
        let distance = self.local.distance(&Key::of(&record.key));
        if let Some(old) = self.get(&record.key, validators, now)
            && validators.compare(&record.key, &old.value, &record.value) == Ordering::Greater
        {
            return Err(Refused::Older);
        }
        let replaced = self.remove(&distance);
        if !self.has_room_for(&sender, record) || !self.has_room_at(&distance, record) {
            // The older value, if any, stays.
            if let Some(replaced) = replaced {
                self.insert(distance, replaced);
            }
            return Err(Refused::Full);
        }
        // Bytes of the message that it came in are not held.
        self.insert(distance, Stored { record: record.clone(), received: now.unix, sender });
        while self.stored.len() > self.max || self.bytes > self.bytes_max {
            let Some((&furthest, _)) = self.stored.last_key_value() else { break };
            self.remove(&furthest);
        }
        Ok(())
    }

    /// Whether one more fits here once all that are further from us are gone.
    fn has_room_at(&self, distance: &Distance, record: &Record) -> bool {
        let further = || self.stored.iter().rev().take_while(|(other, _)| *other > distance);
        let values = || self.stored.len() - further().count();
        let bytes = || self.bytes - further().map(|(_, stored)| size(&stored.record)).sum::<usize>();
        // Nearly always without looking at any of them.
        let few = self.stored.len() < self.max || values() < self.max;
        let own = size(record);
        few && (self.bytes + own <= self.bytes_max || bytes() + own <= self.bytes_max)
    }

    /// Whether one more is within what its sender and all of its network may have.
    fn has_room_for(&self, sender: &Sender, record: &Record) -> bool {
        let own = self.senders.get(&sender.peer).copied().unwrap_or(0);
        let group = sender.group.and_then(|group| self.groups.get(&group));
        let (values, bytes) = group.copied().unwrap_or((0, 0));
        let of_group = values < self.per_group.0 && bytes + size(record) <= self.per_group.1;
        own < self.per_sender && (of_group || sender.group.is_none())
    }

    fn insert(&mut self, distance: Distance, stored: Stored) {
        let size = size(&stored.record);
        self.bytes += size;
        *self.senders.entry(stored.sender.peer).or_default() += 1;
        if let Some(group) = stored.sender.group {
            let (values, bytes) = self.groups.entry(group).or_default();
            (*values, *bytes) = (*values + 1, *bytes + size);
        }
        self.stored.insert(distance, stored);
    }

    fn remove(&mut self, distance: &Distance) -> Option<Stored> {
        let stored = self.stored.remove(distance)?;
        let size = size(&stored.record);
        self.bytes -= size;
        if let Some(count) = self.senders.get_mut(&stored.sender.peer) {
            *count -= 1;
            if *count == 0 {
                self.senders.remove(&stored.sender.peer);
            }
        }
        if let Some(group) = stored.sender.group
            && let Some((values, bytes)) = self.groups.get_mut(&group)
        {
            (*values, *bytes) = (*values - 1, *bytes - size);
            if *values == 0 {
                self.groups.remove(&group);
            }
        }
        Some(stored)
    }

    fn expired(&self, received: UnixTime, now: UnixTime) -> bool {
        // A clock that was set back makes a record young, never old.
        now.0.saturating_sub(received.0) >= self.validity
    }

    /// Forgets what has expired.
    pub(crate) fn sweep(&mut self, now: UnixTime) {
        let old: Vec<Distance> = self
            .stored
            .iter()
            .filter(|(_, stored)| self.expired(stored.received, now))
            .map(|(&distance, _)| distance)
            .collect();
        for distance in old {
            self.remove(&distance);
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.stored.len()
    }

    pub(crate) const fn bytes(&self) -> usize {
        self.bytes
    }
}

fn size(record: &Record) -> usize {
    record.key.len() + record.value.len()
}

/// The key under which the public key of a peer stands.
#[must_use]
pub fn public_key_key(peer: &PeerId) -> Bytes {
    [b"/pk/", peer.as_bytes()].concat().into()
}

#[cfg(test)]
#[path = "values_tests.rs"]
pub(crate) mod tests;
