//! Storage, links, ffmpeg and subtitles, from outside. Films and voices are made here by
//! ffmpeg itself; nothing is read from elsewhere.

mod compose;
#[path = "../contract/mod.rs"]
mod contract;
mod door;
mod hostile;
mod kit;
mod limits;
mod links;
mod storage;
mod subtitles;
