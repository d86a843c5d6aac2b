//! Values: validity, which of two stays, bounds.

use peerage_base::Instant;
use peerage_identity::Keypair;

use super::*;
use crate::testing::peer;

fn sender(n: u64) -> Sender {
    Sender { peer: peer(n), group: None }
}

/// A namespace whose values are valid until the unix time in their second
/// byte, and better with a larger first byte.
#[derive(Debug)]
pub(crate) struct Numbers;

impl Validator for Numbers {
    fn validate(&self, _name: &[u8], value: &[u8], now: Now) -> Result<(), ValueError> {
        match value {
            [_, until, ..] if now.unix.0 < u64::from(*until) => Ok(()),
            [_, _, ..] => Err(ValueError::Expired),
            _ => Err(ValueError::Value),
        }
    }

    fn compare(&self, _name: &[u8], left: &[u8], right: &[u8]) -> Ordering {
        left.first().cmp(&right.first())
    }
}

fn config() -> Config {
    Config { validators: vec![("n", Arc::new(Numbers))], values_per_sender: 8, ..Config::default() }
}

fn at(unix: u64) -> Now {
    Now::new(Instant::START, UnixTime(unix))
}

fn record(key: &str, value: &[u8]) -> Record {
    Record { key: Bytes::copy_from_slice(key.as_bytes()), value: Bytes::copy_from_slice(value) }
}

#[test]
fn a_public_key_is_valid_under_its_own_id_only() {
    let validators = Validators::new(&config());
    let keypair = Keypair::from_seed([3; 32]);
    let value: Bytes = keypair.public().to_protobuf().into();
    let key = public_key_key(&keypair.peer_id());
    assert_eq!(validators.validate(&Record { key: key.clone(), value: value.clone() }, at(0)), Ok(()));
    let other = public_key_key(&Keypair::from_seed([4; 32]).peer_id());
    assert_eq!(validators.validate(&Record { key: other, value }, at(0)), Err(ValueError::Value));
    let garbage = Record { key, value: Bytes::from_static(b"no key") };
    assert_eq!(validators.validate(&garbage, at(0)), Err(ValueError::Value));
    assert_eq!(validators.validate(&record("/pk/zz", b""), at(0)), Err(ValueError::Key));
}

#[test]
fn unknown_namespaces_are_refused() {
    let validators = Validators::new(&config());
    for key in ["", "/", "n/a", "/n", "/dnslink/a", "//a"] {
        assert_eq!(validators.validate(&record(key, b"a"), at(0)), Err(ValueError::Namespace), "{key}");
    }
    assert_eq!(validators.validate(&record("/n/a", &[1, 2]), at(0)), Ok(()));
    let long = "/n/".to_owned() + &"a".repeat(KEY_MAX);
    assert_eq!(validators.validate(&record(&long, &[1, 2]), at(0)), Err(ValueError::TooLarge));
    assert_eq!(validators.validate(&record("/n/a", &[1; VALUE_MAX + 1]), at(0)), Err(ValueError::TooLarge));
}

#[test]
fn the_better_value_stays_until_it_expires() {
    let validators = Validators::new(&config());
    let mut values = Values::new(Key::of(b"local"), &config());
    let put = |values: &mut Values, value: &[u8], unix| {
        values.put(sender(1), &record("/n/a", value), &validators, at(unix))
    };
    assert_eq!(put(&mut values, &[5, 100], 0), Ok(()));
    assert_eq!(put(&mut values, &[4, 200], 0), Err(Refused::Older));
    assert_eq!(put(&mut values, &[5, 150], 0), Ok(()), "an equal one is a renewal");
    assert_eq!(values.get(b"/n/a", &validators, at(0)), Some(&record("/n/a", &[5, 150])));
    assert_eq!(values.get(b"/n/a", &validators, at(150)), None, "it has expired by itself");
    assert_eq!(put(&mut values, &[4, 200], 150), Ok(()), "and does not stand in the way");
    assert_eq!((values.len(), values.bytes()), (1, 6));
    values.sweep(UnixTime(150 + 48 * 3600 - 1));
    assert_eq!(values.len(), 1);
    values.sweep(UnixTime(150 + 48 * 3600));
    assert_eq!((values.len(), values.bytes(), values.senders.len()), (0, 0, 0));
}

#[test]
fn room_is_made_by_what_is_furthest() {
    let config = Config { values_max: 10, values_bytes_max: 200, values_per_sender: 8, ..config() };
    let validators = Validators::new(&config);
    let local = Key::of(b"local");
    let mut values = Values::new(local, &config);
    let mut keys: Vec<String> = (0..100).map(|n| format!("/n/{n}")).collect();
    for (n, key) in keys.iter().enumerate() {
        let _ = values.put(sender(n as u64), &record(key, &[1, 99]), &validators, at(0));
        assert!(values.len() <= 10 && values.bytes() <= 200);
    }
    keys.sort_by_key(|key| local.distance(&Key::of(key.as_bytes())));
    for key in &keys[..10] {
        assert!(values.get(key.as_bytes(), &validators, at(0)).is_some(), "the nearest are kept");
    }
    // A large value takes the room of several, and one that has no place is refused.
    let refused = values.put(sender(1), &record(&keys[99], &[1, 99]), &validators, at(0));
    assert_eq!(refused, Err(Refused::Full));
    values.put(sender(1), &record(&keys[0], &[1; 190]), &validators, at(0)).unwrap();
    assert!(values.len() < 3 && values.bytes() <= 200);
}

#[test]
fn a_value_without_room_takes_no_other_with_it() {
    let config = Config { values_max: 3, values_bytes_max: 100, ..config() };
    let validators = Validators::new(&config);
    let local = Key::of(b"local");
    let mut keys: Vec<String> = (0..4).map(|n| format!("/n/{n}")).collect();
    keys.sort_by_key(|key| local.distance(&Key::of(key.as_bytes())));
    let mut values = Values::new(local, &config);
    let mut put =
        |key: usize, value: &[u8]| values.put(sender(1), &record(&keys[key], value), &validators, at(0));
    // Those of the first two have 40 bytes, that of the third 10.
    assert_eq!((put(0, &[1; 36]), put(1, &[1; 36]), put(2, &[1; 6])), (Ok(()), Ok(()), Ok(())));
    // A better one of the furthest that does not fit: the older stays.
    assert_eq!(put(2, &[2; 90]), Err(Refused::Full));
    // Nor does one in the middle that is too large even without the furthest.
    assert_eq!(put(1, &[2; 90]), Err(Refused::Full));
    assert_eq!(put(3, &[1; 2]), Err(Refused::Full), "too many");
    assert_eq!((values.len(), values.bytes()), (3, 90));
    for key in &keys[..3] {
        assert_eq!(values.get(key.as_bytes(), &validators, at(0)).unwrap().value[0], 1, "{key}");
    }
    // What fits goes in, and what is further makes room.
    values.put(sender(1), &record(&keys[1], &[2; 50]), &validators, at(0)).unwrap();
    assert_eq!((values.len(), values.bytes()), (2, 94));
}

#[test]
fn one_sender_has_few() {
    let config = Config { values_per_sender: 2, ..config() };
    let validators = Validators::new(&config);
    let mut values = Values::new(Key::of(b"local"), &config);
    let mut put = |n, key: &str, value| values.put(sender(n), &record(key, &[value, 99]), &validators, at(0));
    assert_eq!(put(1, "/n/a", 1), Ok(()));
    assert_eq!(put(1, "/n/b", 1), Ok(()));
    assert_eq!(put(1, "/n/c", 1), Err(Refused::Full));
    assert_eq!(put(1, "/n/b", 2), Ok(()), "its own it may renew");
    assert_eq!(put(2, "/n/c", 1), Ok(()));
    assert_eq!(put(1, "/n/c", 9), Err(Refused::Full));
    assert_eq!(values.get(b"/n/c", &validators, at(0)).unwrap().value[0], 1);
    assert_eq!(values.len(), 3);
}

#[test]
fn many_identities_of_one_network_have_few() {
    let config = Config { values_per_group: 3, values_bytes_per_group: 40, ..config() };
    let validators = Validators::new(&config);
    let mut values = Values::new(Key::of(b"local"), &config);
    let mut put = |n: u64, group: u8, value: &[u8]| {
        let sender = Sender { peer: peer(n), group: Some(Group::V4([60, group])) };
        values.put(sender, &record(&format!("/n/{n}"), value), &validators, at(0))
    };
    assert_eq!(put(1, 1, &[1; 30]), Ok(()));
    assert_eq!(put(2, 1, &[1; 30]), Err(Refused::Full), "too many bytes");
    assert_eq!(put(2, 2, &[1; 30]), Ok(()), "of another network");
    assert_eq!(put(1, 1, &[1, 1]), Ok(()));
    assert_eq!((put(3, 1, &[1, 1]), put(4, 1, &[1, 1])), (Ok(()), Ok(())));
    assert_eq!(put(5, 1, &[1, 1]), Err(Refused::Full), "too many");
    assert_eq!(put(4, 1, &[2, 1]), Ok(()), "its own it may renew");
    values.sweep(UnixTime(48 * 3600));
    assert_eq!((values.len(), values.groups.len()), (0, 0));
}
