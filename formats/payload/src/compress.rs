//! xz, bzip2, zstd and brotli, each as an operation's blob has it.
//!
//! Decoders are readers: nothing is allocated for what a blob claims to become. Their windows are
//! bounded: 64 MiB for xz, as update_engine has it; 128 MiB for zstd; 16 MiB for brotli.

use liblzma::stream::{Check, Filters, LzmaOptions, Stream};
use std::io::{self, BufRead, ErrorKind, Read};

/// Memory that an xz decoder may take: a dictionary of 64 MiB and a little.
const XZ_MEMORY: u64 = 66 << 20;
/// log2 of zstd's largest window.
const ZSTD_WINDOW_LOG: u32 = 27;

/// How a blob is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    None,
    /// xz with preset 0 to 9.
    Xz(u32),
    /// bzip2 in blocks of 900 kB.
    Bzip2,
    /// zstd with level 1 to 22.
    Zstd(i32),
    /// brotli.
    Brotli {
        /// 0 to 11.
        quality: u32,
        /// log2 of the window, 16 to 24. The slow search takes eight times the window.
        window: u32,
    },
}

/// Compresses `data`.
pub fn compress(data: &[u8], compression: Compression) -> io::Result<Vec<u8>> {
    let mut out = Vec::new();
    match compression {
        Compression::None => out.extend(data),
        Compression::Xz(preset) => {
            let stream = xz_stream(data.len(), preset)?;
            liblzma::bufread::XzEncoder::new_stream(data, stream).read_to_end(&mut out)?;
        }
        Compression::Bzip2 => {
            bzip2::bufread::BzEncoder::new(data, bzip2::Compression::best())
                .read_to_end(&mut out)?;
        }
        Compression::Zstd(level) => out = zstd::bulk::compress(data, level)?,
        Compression::Brotli { quality, window } => {
            let window = (data.len().max(1).ilog2() + 1).clamp(16, window.clamp(16, 24));
            let parameters = brotli::enc::BrotliEncoderParams {
                quality: i32::try_from(quality).unwrap_or(11),
                lgwin: i32::try_from(window).unwrap_or(22),
                size_hint: data.len(),
                ..Default::default()
            };
            brotli::BrotliCompress(&mut &data[..], &mut out, &parameters)?;
        }
    }
    Ok(out)
}

/// A dictionary larger than the data would only cost memory.
fn xz_stream(length: usize, preset: u32) -> io::Result<Stream> {
    let preset_dictionary: u32 = match preset {
        0 => 1 << 18,
        1 => 1 << 20,
        2 => 1 << 21,
        3 | 4 => 1 << 22,
        5 | 6 => 1 << 23,
        7 => 1 << 24,
        8 => 1 << 25,
        _ => 1 << 26,
    };
    let needed = u32::try_from(length.max(4096)).unwrap_or(u32::MAX);
    let mut options = LzmaOptions::new_preset(preset)?;
    options.dict_size(preset_dictionary.min(needed));
    let mut filters = Filters::new();
    filters.lzma2(&options);
    // CRC-32: decoders on devices know no other. The operation's own hash is what counts.
    Ok(Stream::new_stream_encoder(&filters, Check::Crc32)?)
}

/// A reader that gives what `blob` decompresses to.
pub(crate) enum Decoder<'a> {
    None(&'a [u8]),
    Xz(liblzma::bufread::XzDecoder<&'a [u8]>),
    Bzip2(bzip2::bufread::BzDecoder<&'a [u8]>),
    Zstd(zstd::Decoder<'static, &'a [u8]>),
    Brotli(Box<brotli::Decompressor<&'a [u8]>>),
}

impl<'a> Decoder<'a> {
    pub(crate) fn new(blob: &'a [u8], compression: Compression) -> io::Result<Self> {
        Ok(match compression {
            Compression::None => Self::None(blob),
            Compression::Xz(_) => {
                let stream = Stream::new_stream_decoder(XZ_MEMORY, 0)?;
                Self::Xz(liblzma::bufread::XzDecoder::new_stream(blob, stream))
            }
            Compression::Bzip2 => Self::Bzip2(bzip2::bufread::BzDecoder::new(blob)),
            Compression::Zstd(_) => {
                let mut decoder = zstd::Decoder::with_buffer(blob)?.single_frame();
                decoder.window_log_max(ZSTD_WINDOW_LOG)?;
                Self::Zstd(decoder)
            }
            Compression::Brotli { .. } => {
                Self::Brotli(Box::new(brotli::Decompressor::new(blob, BROTLI_BUFFER)))
            }
        })
    }

    /// Once the stream has ended: whether nothing stands behind it.
    pub(crate) fn finish(self) -> io::Result<bool> {
        Ok(match self {
            Self::None(rest) => rest.is_empty(),
            Self::Xz(mut decoder) => decoder.get_mut().fill_buf()?.is_empty(),
            Self::Bzip2(mut decoder) => decoder.get_mut().fill_buf()?.is_empty(),
            Self::Zstd(mut decoder) => decoder.get_mut().fill_buf()?.is_empty(),
            // The decoder itself refuses bytes behind its stream.
            Self::Brotli(_) => true,
        })
    }
}

const BROTLI_BUFFER: usize = 64 << 10;

impl Read for Decoder<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = match self {
            Self::None(rest) => rest.read(buffer),
            Self::Xz(decoder) => decoder.read(buffer),
            Self::Bzip2(decoder) => decoder.read(buffer),
            Self::Zstd(decoder) => decoder.read(buffer),
            Self::Brotli(decoder) => decoder.read(buffer),
        };
        // Whatever the library calls it, it is the blob's fault.
        read.map_err(|error| io::Error::new(ErrorKind::InvalidData, error))
    }
}
