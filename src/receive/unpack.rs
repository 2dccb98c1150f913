//! Bodies as they come: unpacked, and never larger than their bounds, however well they are packed.

use std::io::{self, Write};

use bytes::{Bytes, BytesMut};
use flate2::write::{MultiGzDecoder, ZlibDecoder};

/// How a body is packed: a Content-Encoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packing {
    /// Not at all.
    Plain,
    /// RFC 1952; of several members, all.
    Gzip,
    /// What HTTP calls deflate, which is zlib's format (RFC 9110, §8.4.1.2).
    Deflate,
}

impl Packing {
    /// What a Content-Encoding means; `x-gzip` is an old name of gzip (RFC 9110, §8.4.1.3).
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        match name.trim().to_ascii_lowercase().as_str() {
            "identity" | "" => Some(Self::Plain),
            "gzip" | "x-gzip" => Some(Self::Gzip),
            "deflate" => Some(Self::Deflate),
            _ => None,
        }
    }
}

/// Why a body grows no further.
#[derive(Debug)]
pub enum Stop {
    /// It is larger than its bound.
    TooLarge,
    /// All bodies together are.
    NoRoom,
    /// It did not come whole, or is not packed as it says.
    Broken(io::Error),
}

/// What is unpacked, up to a bound. `grow` is asked before so many bytes more are held.
struct Held<G> {
    bytes: BytesMut,
    bytes_max: usize,
    grow: G,
    stop: Option<Stop>,
}

impl<G: FnMut(usize) -> bool> Write for Held<G> {
    fn write(&mut self, more: &[u8]) -> io::Result<usize> {
        if self.bytes.len() + more.len() > self.bytes_max {
            self.stop = Some(Stop::TooLarge);
        } else if !(self.grow)(more.len()) {
            self.stop = Some(Stop::NoRoom);
        }
        if self.stop.is_some() {
            return Err(io::Error::other("the bound is reached"));
        }
        self.bytes.extend_from_slice(more);
        Ok(more.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A body that grows.
pub struct Unpacked<G: FnMut(usize) -> bool>(Inner<G>);

enum Inner<G: FnMut(usize) -> bool> {
    Plain(Held<G>),
    Gzip(MultiGzDecoder<Held<G>>),
    Deflate(ZlibDecoder<Held<G>>),
}

impl<G: FnMut(usize) -> bool> Unpacked<G> {
    /// An empty body of at most so many bytes, unpacked; `reserve` of them are expected.
    pub fn new(packing: Packing, bytes_max: usize, reserve: usize, grow: G) -> Self {
        let held = Held { bytes: BytesMut::with_capacity(reserve), bytes_max, grow, stop: None };
        Self(match packing {
            Packing::Plain => Inner::Plain(held),
            Packing::Gzip => Inner::Gzip(MultiGzDecoder::new(held)),
            Packing::Deflate => Inner::Deflate(ZlibDecoder::new(held)),
        })
    }

    /// Takes what came.
    ///
    /// # Errors
    /// When it grows beyond a bound, or is not packed as it says.
    pub fn push(&mut self, chunk: &[u8]) -> Result<(), Stop> {
        let written = match &mut self.0 {
            Inner::Plain(held) => held.write_all(chunk),
            Inner::Gzip(decoder) => decoder.write_all(chunk),
            Inner::Deflate(decoder) => decoder.write_all(chunk),
        };
        written.map_err(|error| self.stop(error))
    }

    /// There is no more.
    ///
    /// # Errors
    /// When it is not packed to its end.
    pub fn finish(&mut self) -> Result<(), Stop> {
        let finished = match &mut self.0 {
            Inner::Plain(_) => Ok(()),
            Inner::Gzip(decoder) => decoder.try_finish(),
            Inner::Deflate(decoder) => decoder.try_finish(),
        };
        finished.map_err(|error| self.stop(error))
    }

    fn stop(&mut self, error: io::Error) -> Stop {
        self.held().stop.take().unwrap_or(Stop::Broken(error))
    }

    fn held(&mut self) -> &mut Held<G> {
        match &mut self.0 {
            Inner::Plain(held) => held,
            Inner::Gzip(decoder) => decoder.get_mut(),
            Inner::Deflate(decoder) => decoder.get_mut(),
        }
    }

    /// What there is of it. It grows no more: a decoder that is dropped gives out what it still has.
    pub fn take(&mut self) -> Bytes {
        let held = self.held();
        held.bytes_max = 0;
        std::mem::take(&mut held.bytes).freeze()
    }
}

#[cfg(test)]
mod tests {
    use flate2::Compression;
    use flate2::write::{GzEncoder, ZlibEncoder};

    use super::*;

    fn packed(packing: Packing, text: &[u8]) -> Vec<u8> {
        match packing {
            Packing::Plain => text.to_vec(),
            Packing::Gzip => {
                let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
                encoder.write_all(text).unwrap();
                encoder.finish().unwrap()
            }
            Packing::Deflate => {
                let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
                encoder.write_all(text).unwrap();
                encoder.finish().unwrap()
            }
        }
    }

    const ALL: [Packing; 3] = [Packing::Plain, Packing::Gzip, Packing::Deflate];

    #[test]
    fn a_body_comes_out_as_it_was_in_whatever_pieces_it_comes() {
        let text: Vec<u8> = (0..20_000_u32).flat_map(u32::to_le_bytes).collect();
        for packing in ALL {
            for size in [1, 7, 1_000, 100_000] {
                let mut body = Unpacked::new(packing, text.len(), 0, |_| true);
                for chunk in packed(packing, &text).chunks(size) {
                    body.push(chunk).unwrap();
                }
                body.finish().unwrap();
                assert_eq!(body.take(), text, "{packing:?} {size}");
            }
        }
    }

    #[test]
    fn what_is_packed_a_thousandfold_is_never_held_beyond_the_bound() {
        let text = vec![b' '; 64 << 20];
        for packing in ALL {
            let mut held = 0;
            let mut body = Unpacked::new(packing, 1 << 20, 0, |more| {
                held += more;
                true
            });
            let stop = packed(packing, &text).chunks(1 << 16).find_map(|chunk| body.push(chunk).err());
            assert!(matches!(stop, Some(Stop::TooLarge)), "{packing:?}");
            assert!(body.take().len() <= 1 << 20);
            drop(body);
            assert!(held <= 1 << 20, "{packing:?} {held}");
        }
    }

    #[test]
    fn all_bodies_together_have_a_bound() {
        for packing in ALL {
            let mut body = Unpacked::new(packing, 1 << 20, 0, |_| false);
            let stop = body.push(&packed(packing, b"<a/>")).and_then(|()| body.finish()).unwrap_err();
            assert!(matches!(stop, Stop::NoRoom), "{packing:?}");
        }
    }

    #[test]
    fn what_is_not_packed_as_it_says_is_broken() {
        for packing in [Packing::Gzip, Packing::Deflate] {
            let mut body = Unpacked::new(packing, 1 << 20, 0, |_| true);
            let stop = body.push(b"<soapenv:Envelope/>").and_then(|()| body.finish()).unwrap_err();
            assert!(matches!(stop, Stop::Broken(_)), "{packing:?}");
        }
        let whole = packed(Packing::Gzip, b"<soapenv:Envelope/>");
        let mut half = Unpacked::new(Packing::Gzip, 1 << 20, 0, |_| true);
        let stop = half.push(&whole[..whole.len() - 6]).and_then(|()| half.finish()).unwrap_err();
        assert!(matches!(stop, Stop::Broken(_)));
    }
}
