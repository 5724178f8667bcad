//! host/media
