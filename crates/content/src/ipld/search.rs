//! The links of a block, with or without the paths to them, found in one pass
//! over its bytes.

use crate::Cid;
use crate::limits::{IPLD_PATHS_MAX, LINKS_MAX};

use super::IpldError;
use super::event::{Event, events};

/// The links of a block, in its order, repeated ones too. The block must be
/// right in whole.
///
/// # Errors
/// See [`IpldError`].
pub fn links(codec: u64, block: &[u8]) -> Result<Vec<Cid>, IpldError> {
    let mut links = Vec::new();
    for event in events(codec, block)? {
        if let Event::Link(cid) = event? {
            if links.len() == LINKS_MAX {
                return Err(IpldError::TooManyLinks);
            }
            links.push(*cid);
        }
    }
    Ok(links)
}

/// [`links`] with the path to each inside the block, such as `a/b/0`: keys of
/// maps, as they are, and numbers of items of lists. The path of a block that
/// is nothing but a link is empty; bytes of keys that are no UTF-8 become
/// U+FFFD. A key may hold a `/`, so paths are to be shown, not to be split.
///
/// # Errors
/// See [`IpldError`].
pub fn named_links(codec: u64, block: &[u8]) -> Result<Vec<(String, Cid)>, IpldError> {
    let mut links = Vec::new();
    let mut path = String::new();
    let mut room = IPLD_PATHS_MAX;
    // Of each list or map that is open: how long the path to it is, and, of a
    // list, the number of the next item.
    let mut stack: Vec<(usize, Option<usize>)> = Vec::new();
    for event in events(codec, block)? {
        let event = event?;
        // The components of a path join with `/`, empty ones, too.
        let separator = if stack.len() > 1 { "/" } else { "" };
        match (&event, stack.last_mut()) {
            (Event::End, _) => {
                stack.pop();
                continue;
            }
            (Event::Key(key), Some((len, _))) => {
                path.truncate(*len);
                path.extend([separator, &String::from_utf8_lossy(key)]);
                continue;
            }
            (_, Some((len, Some(next)))) => {
                if matches!(event, Event::Link(_) | Event::List | Event::Map) {
                    path.truncate(*len);
                    path.extend([separator, &next.to_string()]);
                }
                *next += 1;
            }
            _ => {}
        }
        match event {
            Event::List => stack.push((path.len(), Some(0))),
            Event::Map => stack.push((path.len(), None)),
            Event::Link(_) if links.len() == LINKS_MAX => return Err(IpldError::TooManyLinks),
            Event::Link(cid) => {
                room = room.checked_sub(path.len()).ok_or(IpldError::LongPaths)?;
                links.push((path.clone(), *cid));
            }
            _ => {}
        }
    }
    Ok(links)
}
