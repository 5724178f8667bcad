//! Pictures that callers hand in: kind and size from their first bytes.

/// A picture that can be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Picture {
    pub(crate) width: u32,
    pub(crate) height: u32,
    /// `png` or `jpg`.
    pub(crate) extension: &'static str,
}

/// Reads kind and size; nothing when it is neither PNG nor JPEG.
pub(crate) fn inspect(bytes: &[u8]) -> Option<Picture> {
    if bytes.starts_with(b"\x89PNG\r\n\x1a\n") {
        let number = |at: usize| -> Option<u32> {
            Some(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
        };
        return Some(Picture {
            width: number(16)?,
            height: number(20)?,
            extension: "png",
        });
    }
    if bytes.starts_with(&[0xff, 0xd8]) {
        return jpeg(bytes);
    }
    None
}

/// Walks the segments of a JPEG to its frame header (ITU T.81, B.1 and B.2.2).
fn jpeg(bytes: &[u8]) -> Option<Picture> {
    let mut at = 2;
    loop {
        if *bytes.get(at)? != 0xff {
            return None;
        }
        let marker = *bytes.get(at + 1)?;
        if marker == 0xff {
            at += 1;
            continue;
        }
        let short = |at: usize| -> Option<u16> {
            Some(u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
        };
        let is_frame = matches!(marker, 0xc0..=0xcf) && !matches!(marker, 0xc4 | 0xc8 | 0xcc);
        if is_frame {
            return Some(Picture {
                height: short(at + 5)?.into(),
                width: short(at + 7)?.into(),
                extension: "jpg",
            });
        }
        let length = usize::from(short(at + 2)?);
        if length < 2 {
            return None;
        }
        at += 2 + length;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_from_the_headers() {
        let mut png = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR".to_vec();
        png.extend([0, 0, 2, 0x80, 0, 0, 1, 0x68]);
        let picture = inspect(&png).expect("a PNG");
        assert_eq!((picture.width, picture.height), (640, 360));
        let jpeg = [
            0xff, 0xd8, 0xff, 0xe0, 0, 4, 1, 1, 0xff, 0xc0, 0, 11, 8, 1, 0x2c, 2, 0x58, 1, 1,
        ];
        let picture = inspect(&jpeg).expect("a JPEG");
        assert_eq!((picture.width, picture.height), (600, 300));
        assert_eq!(inspect(b"GIF89a"), None);
        assert_eq!(inspect(&jpeg[..9]), None);
    }
}
