//! Which kind of picture some bytes are, by how they begin. What a sender says of them proves
//! nothing.

/// Media types of the pictures that are told.
pub const TYPES: [&str; 3] = ["image/png", "image/jpeg", "image/webp"];
/// So many first bytes are enough to tell.
pub const HEAD: u64 = 32;

/// The media type of a picture that begins with `head`, of at least [`HEAD`] bytes unless the
/// whole is shorter. `None` when it is no PNG, JPEG or WebP.
///
/// Sources: PNG 3rd edition, section 5.2 and 11.2.1; ISO/IEC 10918-1, annex B.1.1.3 (SOI, then
/// another marker); RFC 9649, section 2.4 to 2.7.
#[must_use]
pub fn media_type(head: &[u8]) -> Option<&'static str> {
    const PNG: &[u8] = b"\x89PNG\r\n\x1a\n";
    let at = |place: usize, wanted: &[u8]| {
        head.get(place..)
            .is_some_and(|rest| rest.starts_with(wanted))
    };
    if at(0, PNG) && at(12, b"IHDR") {
        Some("image/png")
    } else if at(0, &[0xff, 0xd8, 0xff]) {
        Some("image/jpeg")
    } else if at(0, b"RIFF")
        && at(8, b"WEBP")
        && [b"VP8 ", b"VP8L", b"VP8X"]
            .iter()
            .any(|chunk| at(12, *chunk))
    {
        Some("image/webp")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_are_told_by_their_first_bytes() {
        let png = b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR\0\0\0\x01";
        assert_eq!(media_type(png), Some("image/png"));
        assert_eq!(
            media_type(b"\xff\xd8\xff\xe0\0\x10JFIF"),
            Some("image/jpeg")
        );
        assert_eq!(media_type(b"RIFF\x10\0\0\0WEBPVP8L"), Some("image/webp"));
        for other in [
            b"".as_slice(),
            b"\x89PNG\r\n\x1a\n",
            b"GIF89a..........",
            b"<svg xmlns='http://www.w3.org/2000/svg'>",
            b"RIFF\x10\0\0\0WAVEfmt ",
            b"\xff\xd8",
        ] {
            assert_eq!(media_type(other), None, "{other:?}");
        }
    }
}
