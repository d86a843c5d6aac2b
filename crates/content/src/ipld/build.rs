//! From events to a [`Value`], without recursion: the depth of a stranger's
//! block is bounded by its reader, its count of values here.

use crate::limits::{IPLD_VALUES_MAX, LINKS_MAX};

use super::event::{Event, Events};
use super::{IpldError, Map, Text, Value};

/// A list or map that is not complete.
enum Open {
    List(Vec<Value>),
    Map(Vec<(Text, Value)>, Option<Text>),
}

/// The value that the events are of.
pub(super) fn value(events: Events<'_>) -> Result<Value, IpldError> {
    let mut stack = Vec::new();
    let mut root = Value::Null;
    let mut links = 0;
    for (count, event) in events.enumerate() {
        // A list or map counts twice, at its beginning and its end.
        if count == IPLD_VALUES_MAX {
            return Err(IpldError::TooManyValues);
        }
        let value = match event? {
            Event::Null => Value::Null,
            Event::Bool(value) => Value::Bool(value),
            Event::Integer(value) => Value::Integer(value),
            Event::Float(value) => Value::Float(value),
            Event::String(bytes) => Value::String(bytes.into()),
            Event::Bytes(bytes) => Value::Bytes(bytes.into_owned()),
            Event::Link(_) if links == LINKS_MAX => return Err(IpldError::TooManyLinks),
            Event::Link(cid) => {
                links += 1;
                Value::Link(cid)
            }
            Event::List => {
                stack.push(Open::List(Vec::new()));
                continue;
            }
            Event::Map => {
                stack.push(Open::Map(Vec::new(), None));
                continue;
            }
            Event::Key(bytes) => {
                if let Some(Open::Map(_, key)) = stack.last_mut() {
                    *key = Some(bytes.into());
                }
                continue;
            }
            Event::End => match stack.pop() {
                Some(Open::List(mut items)) => {
                    items.shrink_to_fit();
                    Value::List(items)
                }
                // Its reader has seen to it that no key is there twice.
                Some(Open::Map(entries, _)) => Value::Map(Map::of_distinct(entries)),
                None => continue,
            },
        };
        match stack.last_mut() {
            Some(Open::List(items)) => items.push(value),
            Some(Open::Map(entries, key)) => {
                entries.extend(key.take().map(|key| (key, value)));
            }
            None => root = value,
        }
    }
    Ok(root)
}
