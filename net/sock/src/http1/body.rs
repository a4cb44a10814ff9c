//! Owns the body of an HTTP/1.1 request: how long it is and what of it is still to come. Pure.
//! Invariant: what was taken is never more than the limit, whatever the framing says.

use bytes::{Buf, BytesMut};

use super::head::Bad;
use crate::limits::HTTP1_CHUNK_LINE_BYTES_MAX;

/// What is still to come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Plan {
    /// So many bytes.
    Sized { left: u64 },
    /// A line with a chunk's size.
    ChunkSize,
    /// The rest of a chunk.
    Chunk { left: u64 },
    /// The line end behind a chunk.
    ChunkEnd,
    /// Trailer lines, of which so many bytes came.
    Trailers { seen: usize },
    /// Nothing.
    Done,
}

impl Plan {
    pub(super) fn sized(length: u64) -> Plan {
        if length == 0 { Plan::Done } else { Plan::Sized { left: length } }
    }

    pub(super) fn chunked() -> Plan {
        Plan::ChunkSize
    }

    /// The whole length, while nothing was taken, if the head told it.
    pub(super) fn length(&self) -> Option<u64> {
        match self {
            Plan::Sized { left } => Some(*left),
            Plan::ChunkSize
            | Plan::Chunk { .. }
            | Plan::ChunkEnd
            | Plan::Trailers { .. }
            | Plan::Done => None,
        }
    }

    pub(super) fn is_done(&self) -> bool {
        *self == Plan::Done
    }

    /// Moves what is there from `input` to `body`.
    pub(super) fn take(
        &mut self,
        input: &mut BytesMut,
        body: &mut BytesMut,
        limit: usize,
    ) -> Result<(), Bad> {
        loop {
            let next = match self {
                Plan::Done => return Ok(()),
                Plan::Sized { left } => {
                    *left -= move_bytes(input, body, *left);
                    (*left == 0).then_some(Plan::Done)
                }
                Plan::Chunk { left } => {
                    *left -= move_bytes(input, body, *left);
                    (*left == 0).then_some(Plan::ChunkEnd)
                }
                Plan::ChunkSize => match take_line(input)? {
                    None => None,
                    Some(line) => match chunk_size(&line)? {
                        0 => Some(Plan::Trailers { seen: 0 }),
                        size if (limit - body.len()) as u64 >= size => {
                            Some(Plan::Chunk { left: size })
                        }
                        _ => return Err(Bad::TooLarge),
                    },
                },
                Plan::ChunkEnd => match take_line(input)? {
                    None => None,
                    Some(line) if line.is_empty() => Some(Plan::ChunkSize),
                    Some(_) => return Err(Bad::Chunk),
                },
                Plan::Trailers { seen } => match take_line(input)? {
                    None => None,
                    Some(line) if line.is_empty() => Some(Plan::Done),
                    Some(line) => {
                        let seen = *seen + line.len();
                        if HTTP1_CHUNK_LINE_BYTES_MAX < seen {
                            return Err(Bad::Chunk);
                        }
                        Some(Plan::Trailers { seen })
                    }
                },
            };
            match next {
                Some(next) => *self = next,
                None => return Ok(()),
            }
        }
    }
}

fn move_bytes(input: &mut BytesMut, body: &mut BytesMut, most: u64) -> u64 {
    let count = input.len().min(usize::try_from(most).unwrap_or(usize::MAX));
    if body.is_empty() {
        *body = input.split_to(count);
    } else {
        body.extend_from_slice(&input[..count]);
        input.advance(count);
    }
    count as u64
}

/// A line without its end.
fn take_line(input: &mut BytesMut) -> Result<Option<BytesMut>, Bad> {
    let Some(at) = input.iter().take(HTTP1_CHUNK_LINE_BYTES_MAX).position(|&byte| byte == b'\n')
    else {
        let too_long = HTTP1_CHUNK_LINE_BYTES_MAX <= input.len();
        return if too_long { Err(Bad::Chunk) } else { Ok(None) };
    };
    let mut line = input.split_to(at + 1);
    line.truncate(at);
    match line.last() {
        Some(b'\r') => line.truncate(at - 1),
        // A bare line feed is how two readers disagree about where a chunk begins.
        _ => return Err(Bad::Chunk),
    }
    Ok(Some(line))
}

/// The size, without extensions, which nobody uses and everybody must ignore.
fn chunk_size(line: &[u8]) -> Result<u64, Bad> {
    let digits = line.split(|&byte| byte == b';').next().unwrap_or_default().trim_ascii_end();
    if digits.is_empty() || 15 < digits.len() {
        return Err(Bad::Chunk);
    }
    digits.iter().try_fold(0, |size, &digit| {
        let digit = char::from(digit).to_digit(16).ok_or(Bad::Chunk)?;
        Ok(size << 4 | u64::from(digit))
    })
}

#[cfg(test)]
mod tests {
    use base::Prng;

    use super::*;

    fn run(plan: Plan, input: &[u8], dice: &mut Prng) -> Result<(Plan, Vec<u8>, usize), Bad> {
        let (mut plan, mut body, mut buffer) = (plan, BytesMut::new(), BytesMut::new());
        let mut rest = input;
        while !plan.is_done() && !rest.is_empty() {
            let (piece, after) = rest.split_at((1 + dice.below(9) as usize).min(rest.len()));
            buffer.extend_from_slice(piece);
            rest = after;
            plan.take(&mut buffer, &mut body, 100)?;
        }
        Ok((plan, body.to_vec(), buffer.len() + rest.len()))
    }

    #[test]
    fn a_chunked_body_reads_the_same_however_it_is_cut() {
        let input = b"3\r\nabc\r\n00A;name=value\r\n0123456789\r\n0\r\nTrailer: x\r\n\r\nGET";
        for seed in 0..200 {
            let mut dice = Prng::from_seed(seed);
            let (plan, body, left) = run(Plan::chunked(), input, &mut dice).unwrap();
            assert_eq!((plan, &body[..], left), (Plan::Done, &b"abc0123456789"[..], 3));
        }
    }

    #[test]
    fn a_sized_body_takes_no_more_than_its_size() {
        for seed in 0..50 {
            let mut dice = Prng::from_seed(seed);
            let (plan, body, left) = run(Plan::sized(4), b"abcdef", &mut dice).unwrap();
            assert_eq!((plan, &body[..], left), (Plan::Done, &b"abcd"[..], 2));
        }
        assert!(Plan::sized(0).is_done());
    }

    #[test]
    fn broken_chunks_are_refused() {
        for (input, why) in [
            (&b"x\r\n"[..], Bad::Chunk),
            (b"\r\n", Bad::Chunk),
            (b"-1\r\n", Bad::Chunk),
            (b"3\nabc\r\n", Bad::Chunk),
            (b"3\r\nabcd\r\n", Bad::Chunk),
            (b"65\r\n", Bad::TooLarge),
            (b"ffffffffffffffff\r\n", Bad::Chunk),
            (b"fffffffffffffff\r\n", Bad::TooLarge),
            (b"60\r\n", Bad::Chunk),
        ] {
            let mut input = input.to_vec();
            input.resize(input.len() + 2 * HTTP1_CHUNK_LINE_BYTES_MAX, b'1');
            let mut dice = Prng::from_seed(3);
            assert_eq!(run(Plan::chunked(), &input, &mut dice), Err(why), "{input:?}");
        }
    }
}
