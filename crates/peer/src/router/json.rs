//! Reads the JSON of routers into the few fields that count, as it is parsed.
//!
//! What the schema does not know is passed over and never held, and neither is
//! what is beyond a bound: a tree of values would take a hundred times the
//! room of a hostile text. A value of another type than expected is none.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::Limits;

/// A record's fields. Of fields that are repeated, the last one counts.
#[derive(Debug, Default)]
pub(super) struct Record {
    pub(super) schema: Option<String>,
    pub(super) id: Option<String>,
    pub(super) protocol: Option<String>,
    pub(super) addrs: Vec<String>,
    pub(super) protocols: Vec<String>,
}

impl Record {
    /// Whether it is of a schema that names a peer.
    fn is_known(&self) -> bool {
        matches!(self.schema.as_deref(), Some("peer" | "bitswap"))
    }
}

/// One record; nothing if it is no object.
pub(super) fn record(text: &[u8], limits: &Limits) -> serde_json::Result<Option<Record>> {
    whole(text, OneRecord(limits))
}

/// The records of `Providers` and `Peers` whose schema we know,
/// [`Limits::records`] of them and no more. Either list may be null or missing: nothing was found.
pub(super) fn records(text: &[u8], limits: &Limits) -> serde_json::Result<Vec<Record>> {
    let mut records = Vec::new();
    whole(text, Body { limits, records: &mut records })?;
    Ok(records)
}

fn whole<'de, T: DeserializeSeed<'de>>(text: &'de [u8], seed: T) -> serde_json::Result<T::Value> {
    let mut parser = serde_json::Deserializer::from_slice(text);
    let value = seed.deserialize(&mut parser)?;
    parser.end()?;
    Ok(value)
}

/// Values of any type but those that a reader takes are this one's default.
macro_rules! scalars_are_nothing {
    ($nothing:expr) => {
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("JSON")
        }

        fn visit_bool<E: Error>(self, _: bool) -> Result<Self::Value, E> {
            Ok($nothing)
        }

        fn visit_i64<E: Error>(self, _: i64) -> Result<Self::Value, E> {
            Ok($nothing)
        }

        fn visit_u64<E: Error>(self, _: u64) -> Result<Self::Value, E> {
            Ok($nothing)
        }

        fn visit_f64<E: Error>(self, _: f64) -> Result<Self::Value, E> {
            Ok($nothing)
        }

        fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
            Ok($nothing)
        }
    };
}

macro_rules! strings_are_nothing {
    ($nothing:expr) => {
        fn visit_str<E: Error>(self, _: &str) -> Result<Self::Value, E> {
            Ok($nothing)
        }
    };
}

macro_rules! lists_are_nothing {
    ($nothing:expr) => {
        fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
            while list.next_element::<IgnoredAny>()?.is_some() {}
            Ok($nothing)
        }
    };
}

macro_rules! objects_are_nothing {
    ($nothing:expr) => {
        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
            Ok($nothing)
        }
    };
}

/// What every reader is: a seed that is its own visitor.
macro_rules! seed {
    ($name:ident $(<$life:lifetime>)? => $value:ty) => {
        impl<'de> DeserializeSeed<'de> for $name$(<$life>)? {
            type Value = $value;

            fn deserialize<D: Deserializer<'de>>(self, parser: D) -> Result<$value, D::Error> {
                parser.deserialize_any(self)
            }
        }
    };
}

/// A field's name, borrowed where the text has no escapes in it.
struct Name;

impl<'de> DeserializeSeed<'de> for Name {
    type Value = Cow<'de, str>;

    fn deserialize<D: Deserializer<'de>>(self, parser: D) -> Result<Self::Value, D::Error> {
        parser.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Name {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_borrowed_str<E: Error>(self, name: &'de str) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(name))
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Self::Value, E> {
        Ok(Cow::Owned(name.to_owned()))
    }
}

/// A string of at most so many bytes.
#[derive(Clone, Copy)]
struct Text(usize);

seed!(Text => Option<String>);

impl<'de> Visitor<'de> for Text {
    type Value = Option<String>;

    scalars_are_nothing!(None);
    lists_are_nothing!(None);
    objects_are_nothing!(None);

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok((text.len() <= self.0).then(|| text.to_owned()))
    }
}

/// The strings of a list: of those that are not too long the first so many.
struct Texts {
    each: Text,
    most: usize,
}

seed!(Texts => Vec<String>);

impl<'de> Visitor<'de> for Texts {
    type Value = Vec<String>;

    scalars_are_nothing!(Vec::new());
    strings_are_nothing!(Vec::new());
    objects_are_nothing!(Vec::new());

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let mut texts = Vec::new();
        while texts.len() < self.most {
            match list.next_element_seed(self.each)? {
                Some(text) => texts.extend(text),
                None => return Ok(texts),
            }
        }
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(texts)
    }
}

struct OneRecord<'a>(&'a Limits);

seed!(OneRecord<'_> => Option<Record>);

impl<'de> Visitor<'de> for OneRecord<'_> {
    type Value = Option<Record>;

    scalars_are_nothing!(None);
    strings_are_nothing!(None);
    lists_are_nothing!(None);

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut record = Record::default();
        let (name, addr) = (Text(self.0.protocol_len), Text(self.0.addr_len));
        while let Some(field) = map.next_key_seed(Name)? {
            match &*field {
                "Schema" => record.schema = map.next_value_seed(name)?,
                "ID" => record.id = map.next_value_seed(addr)?,
                "Protocol" => record.protocol = map.next_value_seed(name)?,
                // Not all that are text are addresses: those that are none count, too.
                "Addrs" => record.addrs = map.next_value_seed(Texts { each: addr, most: self.0.addrs })?,
                "Protocols" => {
                    record.protocols = map.next_value_seed(Texts { each: name, most: self.0.protocols })?;
                }
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(Some(record))
    }
}

struct Body<'a> {
    limits: &'a Limits,
    records: &'a mut Vec<Record>,
}

seed!(Body<'_> => ());

impl<'de> Visitor<'de> for Body<'_> {
    type Value = ();

    scalars_are_nothing!(());
    strings_are_nothing!(());
    lists_are_nothing!(());

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(field) = map.next_key_seed(Name)? {
            match &*field {
                "Providers" | "Peers" => {
                    map.next_value_seed(List { limits: self.limits, records: self.records })?;
                }
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(())
    }
}

struct List<'a> {
    limits: &'a Limits,
    records: &'a mut Vec<Record>,
}

seed!(List<'_> => ());

impl<'de> Visitor<'de> for List<'_> {
    type Value = ();

    scalars_are_nothing!(());
    strings_are_nothing!(());
    objects_are_nothing!(());

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        while self.records.len() < self.limits.records {
            match list.next_element_seed(OneRecord(self.limits))? {
                Some(record) => self.records.extend(record.filter(Record::is_known)),
                None => return Ok(()),
            }
        }
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(())
    }
}
