//! How much memory a large blob takes.

use std::process::Command;

use bytes::Bytes;
use futures::TryStreamExt as _;
use genvid_media::BlobStore as _;

use crate::contract::key;
use crate::kit::open;
use crate::server::{Moto, Server as _};

const MIB: usize = 1024 * 1024;
/// Size of the blob in MiB.
const SIZE: usize = 256;
/// How much the process may grow, in MiB: three parts of 8, and what the SDK, the allocator and
/// TLS-less connections take besides.
const MOST: u64 = 56;

/// In a process of its own: other tests' memory is not counted.
#[cfg(target_os = "linux")]
#[test]
fn memory_does_not_grow_with_the_size() {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "--nocapture", "memory::alone"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let complained = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}{complained}");
    assert!(said.contains("1 passed"), "{said}");
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
#[ignore = "memory_does_not_grow_with_the_size runs it in a process of its own"]
async fn alone() {
    fn resident_kib() -> u64 {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status
            .lines()
            .find(|line| line.starts_with("VmRSS:"))
            .unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    // In another process again.
    let server = Moto::start().await;
    let store = open(server.options()).await;
    let key = key("large");
    let before = resident_kib();
    let mut highest = before;
    let mut writer = store.create(&key, "video/mp4").await.unwrap();
    for _ in 0..SIZE * 4 {
        // A buffer of its own each time, as from a network.
        writer.write(Bytes::from(vec![7; MIB / 4])).await.unwrap();
        highest = highest.max(resident_kib());
    }
    let stored = writer.finish().await.unwrap();
    assert_eq!(stored.size, (SIZE * MIB) as u64);
    let written = highest - before;
    let mut blob = store.open(&key, None).await.unwrap().unwrap();
    let mut read = 0;
    while let Some(chunk) = blob.body.try_next().await.unwrap() {
        read += chunk.len() as u64;
        highest = highest.max(resident_kib());
    }
    assert_eq!(read, stored.size);
    let grown = highest - before;
    println!("grew by {written} KiB for writing, by {grown} KiB in all");
    assert!(grown < MOST * 1024, "grew by {grown} KiB");
}
