//! kling
