//! Owns the replies that are written from parts, without building a message first: key-value pairs,
//! headers, puts, ranges and watch events.
//! Never decides what is sent. Invariant: byte for byte what prost writes for the same message, and
//! every announced length is the length written (both held by tests).

use bytes::{BufMut, Bytes, BytesMut};
use prost::encoding::encoded_len_varint;

/// Wire type 0 of field `number`, all below 16: one byte.
const fn varint_key(number: u8) -> u8 {
    assert!(number < 16);
    number << 3
}

/// Wire type 2 of field `number`, all below 16: one byte.
const fn bytes_key(number: u8) -> u8 {
    assert!(number < 16);
    number << 3 | 2
}

/// Size of a number field; zero is not written.
fn number_len(value: u64) -> usize {
    match value {
        0 => 0,
        value => 1 + encoded_len_varint(value),
    }
}

/// Negative numbers are their 64-bit two's complement, ten bytes long.
fn signed_len(value: i64) -> usize {
    number_len(value as u64)
}

fn put_number(to: &mut impl BufMut, number: u8, value: u64) {
    if value != 0 {
        put_keyed(to, varint_key(number), value);
    }
}

/// A key of one byte and a varint: gathered first and put at once, since a buffer that grows asks
/// for room with every byte that it is given.
fn put_keyed(to: &mut impl BufMut, key: u8, value: u64) {
    let mut bytes = [0; KEYED_BYTES_MAX];
    let len = write_keyed(&mut bytes, 0, key, value);
    to.put_slice(&bytes[..len]);
}

/// Most bytes of a key of one byte and a varint.
const KEYED_BYTES_MAX: usize = 11;

/// Writes key and varint at `at`; answers where the next byte goes.
fn write_keyed(bytes: &mut [u8], at: usize, key: u8, value: u64) -> usize {
    bytes[at] = key;
    let (mut at, mut rest) = (at + 1, value);
    while rest >= 0x80 {
        bytes[at] = rest as u8 | 0x80;
        rest >>= 7;
        at += 1;
    }
    bytes[at] = rest as u8;
    at + 1
}

/// The same, but a zero is not written.
fn write_number(bytes: &mut [u8], at: usize, number: u8, value: u64) -> usize {
    if value == 0 { at } else { write_keyed(bytes, at, varint_key(number), value) }
}

fn put_signed(to: &mut impl BufMut, number: u8, value: i64) {
    put_number(to, number, value as u64);
}

/// Size of a bytes field; empty is not written.
fn slice_len(len: usize) -> usize {
    match len {
        0 => 0,
        len => nested_len(len),
    }
}

fn put_slice(to: &mut impl BufMut, number: u8, value: &[u8]) {
    if !value.is_empty() {
        put_nested(to, number, value.len());
        to.put_slice(value);
    }
}

/// Size of a message field with `len` bytes of content; written even when empty.
const fn nested_len(len: usize) -> usize {
    1 + encoded_len_varint(len as u64) + len
}

fn put_nested(to: &mut impl BufMut, number: u8, len: usize) {
    put_keyed(to, bytes_key(number), len as u64);
}

/// Key and length, then four numbers with their keys, each of ten bytes at most.
const HEADER_FIELD_BYTES_MAX: usize = 2 + 4 * KEYED_BYTES_MAX;

/// The header of a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Cluster that answers.
    pub cluster_id: u64,
    /// Member that answers.
    pub member_id: u64,
    /// Store revision, 0 where none is told.
    pub revision: i64,
    /// Raft term of the member.
    pub raft_term: u64,
}

impl Header {
    /// Size of the content.
    pub fn len(&self) -> usize {
        number_len(self.cluster_id)
            + number_len(self.member_id)
            + signed_len(self.revision)
            + number_len(self.raft_term)
    }

    /// True if every field is zero.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Writes it as field 1, where every reply has its header.
    pub fn put_field(&self, to: &mut impl BufMut) {
        let mut field = [0; HEADER_FIELD_BYTES_MAX];
        let content = self.len();
        assert!(content < 0x80, "its length is one byte");
        (field[0], field[1]) = (bytes_key(1), content as u8);
        let at = write_number(&mut field, 2, 1, self.cluster_id);
        let at = write_number(&mut field, at, 2, self.member_id);
        let at = write_number(&mut field, at, 3, self.revision as u64);
        let end = write_number(&mut field, at, 4, self.raft_term);
        assert_eq!(end, 2 + content);
        to.put_slice(&field[..end]);
    }

    /// Size of [`Header::put_field`].
    pub fn field_len(&self) -> usize {
        nested_len(self.len())
    }
}

/// The same header as a message, for replies that are built.
impl From<Header> for crate::etcdserverpb::ResponseHeader {
    fn from(header: Header) -> Self {
        let Header { cluster_id, member_id, revision, raft_term } = header;
        crate::etcdserverpb::ResponseHeader { cluster_id, member_id, revision, raft_term }
    }
}

/// A key-value pair, borrowed from wherever its parts lie. Zero and empty parts are not written,
/// so a deleted key is its key and `modified` alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyValue<'a> {
    /// The key.
    pub key: &'a [u8],
    /// Main revision of the first put since the key was absent.
    pub create: i64,
    /// Main revision of the latest change.
    pub modified: i64,
    /// Number of puts since the key was absent.
    pub version: i64,
    /// The value; empty if only keys are told.
    pub value: &'a [u8],
    /// Attached lease, 0 for none.
    pub lease: i64,
}

impl KeyValue<'_> {
    /// Size of the content.
    pub fn len(&self) -> usize {
        self.len_with(self.value.len())
    }

    /// Size of the content, if the value had so many bytes.
    fn len_with(&self, value_bytes: usize) -> usize {
        slice_len(self.key.len())
            + signed_len(self.create)
            + signed_len(self.modified)
            + signed_len(self.version)
            + slice_len(value_bytes)
            + signed_len(self.lease)
    }

    /// True if every field is zero.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Writes it as field `number` of the message around it.
    pub fn put_field(&self, to: &mut impl BufMut, number: u8) {
        put_nested(to, number, self.len());
        put_slice(to, 1, self.key);
        put_signed(to, 2, self.create);
        put_signed(to, 3, self.modified);
        put_signed(to, 4, self.version);
        put_slice(to, 5, self.value);
        put_signed(to, 6, self.lease);
    }

    /// Size of [`KeyValue::put_field`].
    pub fn field_len(&self) -> usize {
        nested_len(self.len())
    }

    /// The same, if the value had so many bytes: for lengths told before values are read.
    pub fn field_len_with(&self, value_bytes: usize) -> usize {
        nested_len(self.len_with(value_bytes))
    }
}

/// A whole `PutResponse`. `DeleteRangeResponse` and others that are rare go through prost.
#[derive(Clone, Copy, Debug)]
pub struct PutResponse<'a> {
    /// The header; its revision is the put's.
    pub header: Header,
    /// The pair before, if asked for and there was one.
    pub prev_kv: Option<KeyValue<'a>>,
}

impl PutResponse<'_> {
    /// Size of the message.
    pub fn len(&self) -> usize {
        self.header.field_len() + self.prev_kv.map_or(0, |kv| kv.field_len())
    }

    /// Never: the header is always written.
    pub fn is_empty(&self) -> bool {
        false
    }

    /// Writes the message.
    pub fn put(&self, to: &mut impl BufMut) {
        self.header.put_field(to);
        if let Some(kv) = self.prev_kv {
            kv.put_field(to, 2);
        }
    }
}

/// A `RangeResponse` written piece by piece: the header, each pair, the tail.
///
/// Sizes add up: the message is as long as the pieces together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RangeTail {
    /// True if a limit cut the result.
    pub more: bool,
    /// Keys in the range.
    pub count: i64,
}

/// Field of the pairs in a `RangeResponse`.
pub const RANGE_KVS_FIELD: u8 = 2;

impl RangeTail {
    /// Size of the last piece.
    pub fn len(&self) -> usize {
        number_len(u64::from(self.more)) + signed_len(self.count)
    }

    /// True if nothing is written.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Writes the last piece.
    pub fn put(&self, to: &mut impl BufMut) {
        put_number(to, 3, u64::from(self.more));
        put_signed(to, 4, self.count);
    }
}

/// What stands before the pairs of a `RangeStreamResponse`: the length of the range reply inside
/// it, and its header, which only the last message has.
#[derive(Clone, Copy, Debug)]
pub struct RangePage {
    /// The header, in the last message.
    pub header: Option<Header>,
    /// Size of the pairs and the tail behind it.
    pub rest_bytes: usize,
}

impl RangePage {
    /// The beginning of the message.
    pub fn to_bytes(&self) -> Bytes {
        let header_len = self.header.map_or(0, |header| header.field_len());
        let mut out = BytesMut::with_capacity(KEYED_BYTES_MAX + header_len);
        put_nested(&mut out, 1, header_len + self.rest_bytes);
        if let Some(header) = self.header {
            header.put_field(&mut out);
        }
        out.freeze()
    }
}

/// What happened to one key, as a watch tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// The key was put.
    Put,
    /// The key was deleted; its pair is key and revision alone.
    Delete,
}

/// One event of a watch reply.
#[derive(Clone, Copy, Debug)]
pub struct Event<'a> {
    /// Put or delete.
    pub kind: EventKind,
    /// The pair after the change.
    pub kv: KeyValue<'a>,
    /// The pair before, if asked for and known.
    pub prev_kv: Option<KeyValue<'a>>,
}

/// Field of the events in a `WatchResponse`, its last.
const EVENTS_FIELD: u8 = 11;

impl Event<'_> {
    fn len(&self) -> usize {
        let kind = match self.kind {
            EventKind::Put => 0,
            EventKind::Delete => 2,
        };
        kind + self.kv.field_len() + self.prev_kv.map_or(0, |kv| kv.field_len())
    }

    /// Size of [`Event::put_field`].
    pub fn field_len(&self) -> usize {
        nested_len(self.len())
    }

    /// Writes it as one more event of a `WatchResponse`. Events are the last field, so they can
    /// be written once and appended to the heads of many replies.
    pub fn put_field(&self, to: &mut impl BufMut) {
        put_nested(to, EVENTS_FIELD, self.len());
        match self.kind {
            EventKind::Put => {}
            EventKind::Delete => put_number(to, 1, 1),
        }
        self.kv.put_field(to, 2);
        if let Some(kv) = self.prev_kv {
            kv.put_field(to, 3);
        }
    }
}

/// Everything of a `WatchResponse` that stands before its events.
#[derive(Clone, Copy, Debug)]
pub struct WatchHead {
    /// The header.
    pub header: Header,
    /// The watch; -1 speaks of the whole stream.
    pub watch_id: i64,
    /// True on all but the last piece of a reply that was cut.
    pub fragment: bool,
}

impl WatchHead {
    /// Size in bytes.
    pub fn len(&self) -> usize {
        self.header.field_len() + signed_len(self.watch_id) + number_len(u64::from(self.fragment))
    }

    /// Never: the header is always written.
    pub fn is_empty(&self) -> bool {
        false
    }

    /// The head in an allocation of its own size.
    pub fn to_bytes(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(self.len());
        self.header.put_field(&mut out);
        put_signed(&mut out, 2, self.watch_id);
        put_number(&mut out, 7, u64::from(self.fragment));
        out.freeze()
    }
}
