//! What blocks link to, packed: a [`Cid`] has room for the longest one, and takes
//! four times what a usual one takes in a block.

use peerage_content::{Cid, DecodeError, hash, node};

/// CIDs as bytes, each after its length. Takes no more memory than the blocks
/// that they are from, within a few bytes a link.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Links(Vec<u8>);

impl Links {
    /// What a block links to: of identity CIDs what their blocks link to.
    ///
    /// # Errors
    /// The block, or one inside of such a CID, is not what its codec says.
    pub(super) fn of(cid: &Cid, block: &[u8]) -> Result<Self, DecodeError> {
        let mut links = Self::default();
        links.enter(cid, block)?;
        links.0.shrink_to_fit();
        Ok(links)
    }

    /// The CID itself, or if it holds its block, what that links to.
    ///
    /// # Errors
    /// As of [`Self::of`].
    pub(super) fn of_root(cid: &Cid) -> Result<Self, DecodeError> {
        let mut links = Self::default();
        links.add(cid)?;
        Ok(links)
    }

    /// An identity CID is shorter than the one that it is in, so this ends.
    fn enter(&mut self, cid: &Cid, block: &[u8]) -> Result<(), DecodeError> {
        node::links(cid, block)?.iter().try_for_each(|link| self.add(link))
    }

    fn add(&mut self, cid: &Cid) -> Result<(), DecodeError> {
        if let Some(block) = hash::inline(cid) {
            return self.enter(cid, block);
        }
        let len = cid.encoded_len();
        self.0.push(u8::try_from(len).expect("a CID has at most 149 bytes"));
        cid.write_bytes(&mut self.0).expect("a Vec takes all that is written");
        Ok(())
    }

    /// The CIDs, as bytes.
    pub(super) fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest = &self.0[..];
        std::iter::from_fn(move || {
            let (len, behind) = rest.split_first()?;
            let (cid, behind) = behind.split_at(usize::from(*len));
            rest = behind;
            Some(cid)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use peerage_content::ipld::{Value, cbor};
    use peerage_content::limits::LINKS_MAX;
    use peerage_content::{Multihash, codec};

    fn cbor_cid(block: &[u8]) -> Cid {
        Cid::new_v1(codec::DAG_CBOR, hash::digest(hash::SHA2_256, block).unwrap())
    }

    #[test]
    fn the_most_links_take_no_more_than_their_block() {
        let link =
            |n: usize| Cid::new_v1(codec::RAW, hash::digest(hash::SHA2_256, &n.to_be_bytes()).unwrap());
        let all: Vec<Cid> = (0..LINKS_MAX).map(link).collect();
        let block = cbor::encode(&Value::List(all.iter().map(|cid| Value::from(*cid)).collect())).unwrap();
        let links = Links::of(&cbor_cid(&block), &block).unwrap();
        assert!(links.0.capacity() <= block.len(), "{} for {}", links.0.capacity(), block.len());
        assert!(links.iter().eq(all.iter().map(Cid::to_bytes)));
    }

    #[test]
    fn identity_cids_are_entered_and_have_to_be_readable() {
        let held =
            |block: &[u8]| Cid::new_v1(codec::DAG_CBOR, Multihash::wrap(hash::IDENTITY, block).unwrap());
        let target = Cid::new_v1(codec::RAW, hash::digest(hash::SHA2_256, b"x").unwrap());
        let inner = held(&cbor::encode(&Value::from(target)).unwrap());
        let outer = held(&cbor::encode(&Value::List(vec![Value::from(inner)])).unwrap());
        let block = cbor::encode(&Value::from(outer)).unwrap();
        for links in [Links::of(&cbor_cid(&block), &block), Links::of_root(&outer), Links::of_root(&target)] {
            assert_eq!(links.unwrap().iter().collect::<Vec<_>>(), [target.to_bytes()]);
        }
        let damaged = held(b"\x82");
        let block = cbor::encode(&Value::from(damaged)).unwrap();
        assert!(Links::of(&cbor_cid(&block), &block).is_err());
        assert!(Links::of_root(&damaged).is_err());
        assert!(Links::of(&cbor_cid(b"\x82"), b"\x82").is_err());
    }
}
