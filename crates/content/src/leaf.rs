//! Leaves of files. Each can be made alone, on any thread, in any order.
//!
//! A raw leaf is the bytes of the file. A dag-pb leaf has a few bytes before
//! and after them, so that a store may keep those and refer to the user's
//! file for the rest. A leaf that is small enough for its profile is in its
//! CID, and nobody has to keep it.

use std::fmt;
use std::ops::Deref;

use crate::hash::IDENTITY;
use crate::profile::{Layout, Profile};
use crate::unixfs::{Data, Kind, Metadata};
use crate::{Cid, Multihash, codec, pb};

/// Up to 64 bytes before or after a leaf's payload.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Wrap {
    bytes: [u8; Self::MAX],
    len: u8,
}

impl Wrap {
    /// Most bytes that a wrap holds.
    pub const MAX: usize = 64;
    /// No bytes.
    pub const EMPTY: Self = Self { bytes: [0; Self::MAX], len: 0 };

    /// A wrap of `bytes`; none if there are more than 64.
    #[must_use]
    pub fn new(bytes: &[u8]) -> Option<Self> {
        let mut this = Self::EMPTY;
        this.bytes.get_mut(..bytes.len())?.copy_from_slice(bytes);
        this.len = u8::try_from(bytes.len()).ok()?;
        Some(this)
    }
}

impl Deref for Wrap {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

impl fmt::Debug for Wrap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

/// What stands around a leaf's payload: the block is head, payload, tail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame {
    /// Bytes before the payload.
    pub head: Wrap,
    /// Bytes after it.
    pub tail: Wrap,
}

/// A leaf of a file, without its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Leaf {
    /// Its name.
    pub cid: Cid,
    /// Bytes of the file in it.
    pub payload_len: usize,
    /// Bytes of the block before the payload; none in raw leaves.
    pub head: Wrap,
    /// Bytes of the block after the payload; none in raw leaves.
    pub tail: Wrap,
    /// The mode and time that the leaf holds, being the whole file.
    pub metadata: Metadata,
}

/// What a leaf is, by the profile and the file that it is of.
struct Form {
    /// The kind of the UnixFS node; none of a raw block.
    kind: Option<Kind>,
    metadata: Metadata,
}

impl Form {
    /// In the trickle layout the root of a file is a node and holds the
    /// metadata. Leaves are of the kind `Raw`, except that the leaf of an empty
    /// file is that root.
    fn new(profile: &Profile, payload_len: usize, metadata: Metadata) -> Self {
        let metadata = metadata.of_file();
        let (kind, metadata) = match profile.layout {
            Layout::Trickle if payload_len == 0 => return Self { kind: Some(Kind::File), metadata },
            Layout::Trickle => (Kind::Raw, Metadata::default()),
            Layout::Balanced => (Kind::File, metadata),
        };
        let is_raw = profile.raw_leaves && metadata.is_empty();
        Self { kind: (!is_raw).then_some(kind), metadata }
    }

    fn codec(&self) -> u64 {
        if self.kind.is_some() { codec::DAG_PB } else { codec::RAW }
    }

    fn frame(&self, len: usize) -> Frame {
        let Some(kind) = self.kind else { return Frame { head: Wrap::EMPTY, tail: Wrap::EMPTY } };
        let mut data = Data::new(kind);
        data.filesize = Some(len as u64);
        data.metadata = self.metadata;
        let mut tail = Vec::with_capacity(Wrap::MAX);
        data.encode_after_data(&mut tail);
        let mut inner = Vec::with_capacity(Wrap::MAX);
        pb::put_u64(&mut inner, 1, kind as u64);
        if len > 0 {
            pb::put_len(&mut inner, 2, len);
        }
        let mut head = Vec::with_capacity(Wrap::MAX);
        pb::put_len(&mut head, 1, inner.len() + len + tail.len());
        head.extend_from_slice(&inner);
        let wrap = |bytes: &[u8]| Wrap::new(bytes).expect("two keys and lengths, a size, a mode and a time");
        Frame { head: wrap(&head), tail: wrap(&tail) }
    }
}

impl Leaf {
    /// The leaf of `payload`, a piece of a file or all of it.
    ///
    /// ```
    /// use peerage_content::{Leaf, Profile};
    /// let leaf = Leaf::new(&Profile::UNIXFS_V0_2015, b"hello world");
    /// assert_eq!(leaf.cid.to_string(), "Qmf412jQZiuVUtdgnB36FXFX7xg5V6KEbSJ4dpQuhkLyfD");
    /// assert_eq!((&leaf.head[..], &leaf.tail[..]), (&b"\x0a\x11\x08\x02\x12\x0b"[..], &b"\x18\x0b"[..]));
    /// ```
    #[must_use]
    pub fn new(profile: &Profile, payload: &[u8]) -> Self {
        Self::only(profile, payload, Metadata::default())
    }

    /// The only leaf of a file that keeps its mode or time: with either it is
    /// a dag-pb node under every profile, since a raw block has no place for
    /// them. Without, the same as [`Self::new`]; so, too, in the trickle layout,
    /// where the root above the leaf holds them, unless the file is empty. A file
    /// keeps no mode of 0, as in Kubo.
    #[must_use]
    pub fn only(profile: &Profile, payload: &[u8], metadata: Metadata) -> Self {
        let form = Form::new(profile, payload.len(), metadata);
        let Frame { head, tail } = form.frame(payload.len());
        let cid = profile.cid_of(form.codec(), &[&head, payload, &tail]);
        Self { cid, payload_len: payload.len(), head, tail, metadata: form.metadata }
    }

    /// The leaf of `payload_len` bytes whose hash is known already. That it is
    /// theirs, by the function of the profile or as the profile inlines it
    /// ([`Self::is_inline`]), is for the caller to know.
    ///
    /// ```
    /// use peerage_content::{Leaf, Metadata, Profile};
    /// for profile in [Profile::UNIXFS_V0_2015, Profile::UNIXFS_V1_2025] {
    ///     let leaf = Leaf::new(&profile, b"hello world");
    ///     assert_eq!(Leaf::with_hash(&profile, *leaf.cid.hash(), 11, Metadata::default()), leaf);
    /// }
    /// ```
    #[must_use]
    pub fn with_hash(profile: &Profile, hash: Multihash, payload_len: usize, metadata: Metadata) -> Self {
        let form = Form::new(profile, payload_len, metadata);
        let Frame { head, tail } = form.frame(payload_len);
        let cid = profile.cid(form.codec(), hash);
        Self { cid, payload_len, head, tail, metadata: form.metadata }
    }

    /// What stands around a payload of `len` bytes.
    #[must_use]
    pub fn frame(profile: &Profile, len: usize, metadata: Metadata) -> Frame {
        Form::new(profile, len, metadata).frame(len)
    }

    /// Whether its CID holds it, so that nobody has to keep it.
    #[must_use]
    pub fn is_inline(&self) -> bool {
        self.cid.hash().code() == IDENTITY
    }

    /// Length of the block, in bytes.
    #[must_use]
    pub fn block_len(&self) -> usize {
        self.head.len() + self.payload_len + self.tail.len()
    }
}
