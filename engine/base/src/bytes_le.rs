//! Owns fixed-width little-endian fields: one way to put a number on disk and one way back.
//! Invariant: a reader never looks past its bytes; short input is an answer, not a panic.

use bytes::BufMut;

/// Input ended before the field did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Short;

/// Takes fields from the front of a byte slice.
#[derive(Clone, Copy, Debug)]
pub struct Take<'a> {
    rest: &'a [u8],
}

impl<'a> Take<'a> {
    /// Reads from `bytes`.
    pub fn new(bytes: &'a [u8]) -> Take<'a> {
        Take { rest: bytes }
    }

    /// Bytes not yet taken.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// The next `count` bytes.
    pub fn bytes(&mut self, count: usize) -> Result<&'a [u8], Short> {
        let (head, rest) = self.rest.split_at_checked(count).ok_or(Short)?;
        self.rest = rest;
        Ok(head)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Short> {
        let (head, rest) = self.rest.split_first_chunk::<N>().ok_or(Short)?;
        self.rest = rest;
        Ok(*head)
    }

    /// One byte.
    pub fn u8(&mut self) -> Result<u8, Short> {
        Ok(self.array::<1>()?[0])
    }

    /// Two bytes.
    pub fn u16(&mut self) -> Result<u16, Short> {
        self.array().map(u16::from_le_bytes)
    }

    /// Four bytes.
    pub fn u32(&mut self) -> Result<u32, Short> {
        self.array().map(u32::from_le_bytes)
    }

    /// Eight bytes.
    pub fn u64(&mut self) -> Result<u64, Short> {
        self.array().map(u64::from_le_bytes)
    }

    /// Eight bytes, signed.
    pub fn i64(&mut self) -> Result<i64, Short> {
        self.array().map(i64::from_le_bytes)
    }

    /// A revision as [`put_rev`] wrote it, 12 bytes.
    pub fn rev(&mut self) -> Result<crate::Rev, Short> {
        Ok(crate::Rev { main: self.i64()?, sub: self.u32()? })
    }
}

/// Writes a revision in 12 bytes: main (8), sub (4).
pub fn put_rev(to: &mut impl BufMut, rev: crate::Rev) {
    to.put_i64_le(rev.main);
    to.put_u32_le(rev.sub);
}
