//! Codes of the block codecs that this crate tells apart (multiformats/multicodec).

/// `raw`: a block is bytes, nothing else; as UnixFS, a file's leaf.
pub const RAW: u64 = 0x55;
/// `dag-pb`: links and data; holds UnixFS.
pub const DAG_PB: u64 = 0x70;
/// `dag-cbor`: any data with links, as CBOR.
pub const DAG_CBOR: u64 = 0x71;
/// `libp2p-key`: a peer's key in a CID, not content.
pub const LIBP2P_KEY: u64 = 0x72;
/// `dag-json`: the same, as JSON.
pub const DAG_JSON: u64 = 0x0129;
