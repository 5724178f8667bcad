//! What a program reads, and under which name.

use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::Error;
use super::probe::guards;
use super::studio::blocking;
use crate::blob::BlobStore;
use crate::door::Door;
use crate::key::Key;

/// A film, a voice or a picture to work on.
#[derive(Clone)]
pub enum Source {
    /// A file of this machine.
    File(PathBuf),
    /// A blob. Read in its place where the store keeps local files; elsewhere over a door on
    /// the loopback that is open for one run. It is never copied.
    Stored(Arc<dyn BlobStore>, Key),
}

impl fmt::Debug for Source {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => formatter.debug_tuple("File").field(path).finish(),
            Self::Stored(_, key) => formatter.debug_tuple("Stored").field(key).finish(),
        }
    }
}

impl From<PathBuf> for Source {
    fn from(path: PathBuf) -> Self {
        Self::File(path)
    }
}

impl From<&PathBuf> for Source {
    fn from(path: &PathBuf) -> Self {
        Self::File(path.clone())
    }
}

impl From<&Path> for Source {
    fn from(path: &Path) -> Self {
        Self::File(path.to_owned())
    }
}

impl Source {
    /// Makes it readable for programs that work in `folder`, as `name`.
    pub(crate) async fn open(&self, folder: &Path, name: &'static str) -> Result<Opened, Error> {
        let local = match self {
            Self::File(path) => Some(path.clone()),
            Self::Stored(store, key) => store.local(key).await.map_err(|error| match error {
                crate::blob::Error::Io(error) => error,
                other => std::io::Error::other(other),
            })?,
        };
        match (local, self) {
            (None, Self::Stored(store, key)) => {
                let door = Door::open(Arc::clone(store), key.clone()).await?;
                Ok(Opened::Door(door))
            }
            (Some(path), _) => {
                link(path, folder.join(name)).await?;
                Ok(Opened::Local(name))
            }
            (None, Self::File(_)) => Err(Error::Unsuitable("nothing to read".to_owned())),
        }
    }
}

/// Something that programs can read now, until it is dropped.
#[derive(Debug)]
pub(crate) enum Opened {
    /// The file of that name in the run's folder.
    Local(&'static str),
    /// A stored blob.
    Door(Door),
}

impl Opened {
    /// The arguments that open it, with `options` before it.
    pub(crate) fn input(&self, options: &[&str], threads: u32) -> Vec<OsString> {
        let mut arguments: Vec<OsString> = options.iter().copied().map(OsString::from).collect();
        arguments.extend(["-threads".into(), threads.max(1).to_string().into()]);
        arguments.extend(self.guarded());
        arguments
    }

    /// The guards of what a stranger made, and the name to open.
    ///
    /// A door needs the network. No other address is asked for by that: all formats that name
    /// files and addresses are off the list, the one address is this host's own, and nothing
    /// behind it redirects.
    pub(crate) fn guarded(&self) -> Vec<OsString> {
        let (protocols, name) = match self {
            Self::Local(name) => ("file,pipe", format!("file:{name}")),
            Self::Door(door) => ("http,tcp", door.url().to_owned()),
        };
        let mut arguments: Vec<OsString> = guards(protocols).map(OsString::from).into();
        arguments.extend(["-i".into(), name.into()]);
        arguments
    }

    /// Fails when the store did while a program read: what the program says then is about
    /// the store, not about the film.
    pub(crate) fn check(&self) -> Result<(), Error> {
        match self {
            Self::Local(_) => Ok(()),
            Self::Door(door) => door.trouble().map_or(Ok(()), |error| Err(error.into())),
        }
    }
}

/// Puts a link to a file into the run's folder. Programs only see the link: its name has no
/// ending that they would believe more than the content, and no characters with a meaning.
async fn link(file: PathBuf, link: PathBuf) -> Result<(), Error> {
    blocking(move || {
        // Resolved and checked here: a missing file is not the same as a broken one.
        let file = file.canonicalize()?;
        if !file.metadata()?.is_file() {
            return Err(std::io::Error::new(
                std::io::ErrorKind::InvalidInput,
                format!("{} is not a file", file.display()),
            ));
        }
        std::os::unix::fs::symlink(file, link)
    })
    .await
}
