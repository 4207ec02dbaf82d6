//! Crash images: what a disk may show after the power went.

use crate::Random;
use crate::disk::{Act, FileId, Known, SECTOR, Step};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// A copy of a record, to make images from.
#[derive(Debug, Clone)]
pub struct Recording {
    steps: Vec<Step>,
    files: Vec<Known>,
}

/// How an image is drawn.
#[derive(Debug, Clone, Copy)]
struct Draw {
    /// Of 8 pieces that were not synced, so many are there.
    kept: usize,
    /// Whether what was never written in a longer file is garbage instead of zeros.
    garbage: bool,
}

/// A file's content on the disk, and what is on its way to it.
#[derive(Debug, Default)]
struct Content {
    durable: Vec<u8>,
    pending: Vec<(usize, Change)>,
}

#[derive(Debug, Clone)]
enum Change {
    Write { offset: u64, octets: Box<[u8]> },
    Truncate { size: u64 },
}

impl Recording {
    pub(crate) fn new(steps: Vec<Step>, files: Vec<Known>) -> Self {
        Self { steps, files }
    }

    /// The number of steps: an image can be made at 0 up to this.
    pub fn len(&self) -> usize {
        self.steps.len()
    }

    /// Whether nothing was recorded.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// What was recorded.
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// The same on a disk that lies about syncing: syncs of files whose name ends so did nothing.
    #[must_use]
    pub fn without_syncs_of(mut self, ending: &str) -> Self {
        let lies = |file: FileId| self.files[file.0].path.to_string_lossy().ends_with(ending);
        self.steps.iter_mut().filter(|step| lies(step.file)).for_each(|step| {
            if let Act::Sync { covers, .. } = &mut step.act {
                *covers = 0;
            }
        });
        self
    }

    /// The moments just before and just after each sync.
    pub fn around_syncs(&self) -> Vec<usize> {
        let syncs = self.steps.iter().enumerate().filter(|(_, step)| matches!(step.act, Act::Sync { .. }));
        syncs.flat_map(|(n, _)| [n, n + 1]).collect()
    }

    /// What the files hold while the power is on, by their paths.
    pub fn whole(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let mut contents: Vec<Content> = Vec::new();
        let mut names = BTreeMap::new();
        for (n, known) in self.files.iter().enumerate() {
            contents.push(Content::of(known));
            if known.before.is_some() {
                names.insert(known.path.clone(), FileId(n));
            }
        }
        for step in &self.steps {
            let path = &self.files[step.file.0].path;
            match &step.act {
                Act::Create => drop(names.insert(path.clone(), step.file)),
                Act::Delete { .. } => drop(names.remove(path)),
                Act::Write { offset, octets } => {
                    contents[step.file.0].apply(&Change::Write { offset: *offset, octets: octets.clone() });
                }
                Act::Truncate { size } => contents[step.file.0].apply(&Change::Truncate { size: *size }),
                Act::Sync { .. } | Act::SyncFailed { .. } => {}
            }
        }
        names.into_iter().map(|(path, file)| (path, std::mem::take(&mut contents[file.0].durable))).collect()
    }

    /// Writes into `directory` what the disk may show if the power went before step `at`; everything that is open is
    /// drawn from `seed`. Gives the names of the files.
    ///
    /// # Errors
    /// A file could not be written.
    pub fn image(&self, at: usize, seed: u64, directory: &Path) -> std::io::Result<Vec<PathBuf>> {
        let mut random = Random::new(seed);
        let draw = Draw { kept: *random.pick(&[0, 1, 4, 7, 8]), garbage: random.chance(1, 2) };
        let mut contents: Vec<Content> = Vec::new();
        let mut names: BTreeMap<&Path, FileId> = BTreeMap::new();
        let mut renaming: Vec<(&Path, Option<FileId>)> = Vec::new();
        for (n, known) in self.files.iter().enumerate() {
            contents.push(Content::of(known));
            if known.before.is_some() {
                names.insert(&known.path, FileId(n));
            }
        }
        for (n, step) in self.steps[..at].iter().enumerate() {
            let content = &mut contents[step.file.0];
            let path = self.files[step.file.0].path.as_path();
            match &step.act {
                Act::Create => renaming.push((path, Some(step.file))),
                Act::Write { offset, octets } => {
                    content.pending.push((n, Change::Write { offset: *offset, octets: octets.clone() }));
                }
                Act::Truncate { size } => content.pending.push((n, Change::Truncate { size: *size })),
                Act::Sync { covers, directory } => {
                    content.settle(*covers, |content, change| content.apply(&change));
                    if *directory {
                        rename(&mut names, &mut renaming, |_| true);
                    }
                }
                Act::SyncFailed { covers } => {
                    // What of it reached the disk is settled now: no later sync will write the rest.
                    content.settle(*covers, |content, change| content.tear(&change, draw, &mut random));
                }
                Act::Delete { directory } => {
                    renaming.push((path, None));
                    if *directory {
                        rename(&mut names, &mut renaming, |_| true);
                    }
                }
            }
        }
        for content in &mut contents {
            content.settle(usize::MAX, |content, change| content.tear(&change, draw, &mut random));
        }
        // Most systems keep the order of names; none has to.
        let (ordered, reach) = (random.chance(1, 2), random.below(renaming.len() + 1));
        rename(&mut names, &mut renaming, |n| if ordered { n < reach } else { random.chance(1, 2) });

        let mut written = Vec::new();
        for (path, id) in names {
            let name = path.file_name().expect("a file has a name");
            std::fs::write(directory.join(name), &contents[id.0].durable)?;
            written.push(PathBuf::from(name));
        }
        Ok(written)
    }
}

/// Lets these of the changes of names reach the disk, in their order.
fn rename<'a>(
    names: &mut BTreeMap<&'a Path, FileId>,
    renaming: &mut Vec<(&'a Path, Option<FileId>)>,
    mut reaches: impl FnMut(usize) -> bool,
) {
    for (n, (path, file)) in renaming.drain(..).enumerate() {
        if reaches(n) {
            match file {
                Some(file) => names.insert(path, file),
                None => names.remove(path),
            };
        }
    }
}

impl Content {
    fn of(known: &Known) -> Self {
        let durable = known.before.as_ref().map(|octets| octets.to_vec()).unwrap_or_default();
        Self { durable, pending: Vec::new() }
    }

    /// Takes what was changed before step `covers` out of what is on its way.
    fn settle(&mut self, covers: usize, mut reach: impl FnMut(&mut Self, Change)) {
        let (covered, rest) = std::mem::take(&mut self.pending).into_iter().partition(|(n, _)| *n < covers);
        self.pending = rest;
        let covered: Vec<(usize, Change)> = covered;
        for (_, change) in covered {
            reach(self, change);
        }
    }

    /// It reaches the disk whole.
    fn apply(&mut self, change: &Change) {
        match change {
            Change::Write { offset, octets } => self.put(*offset as usize, octets, None),
            Change::Truncate { size } => self.durable.resize(*size as usize, 0),
        }
    }

    /// Some of it reaches the disk.
    fn tear(&mut self, change: &Change, draw: Draw, random: &mut Random) {
        match change {
            Change::Truncate { size } => {
                if random.chance(draw.kept, 8) {
                    self.durable.resize(*size as usize, 0);
                }
            }
            Change::Write { offset, octets } => {
                let (mut at, end) = (*offset as usize, *offset as usize + octets.len());
                while at < end {
                    let next = (at / SECTOR + 1) * SECTOR;
                    let mut piece = at..next.min(end);
                    if random.chance(draw.kept, 8) {
                        if random.chance(1, 20) {
                            // Torn: only its first or its last octets.
                            let cut = piece.start + random.below(piece.len() + 1);
                            piece = if random.chance(1, 2) { piece.start..cut } else { cut..piece.end };
                        }
                        let octets = &octets[piece.start - *offset as usize..piece.end - *offset as usize];
                        self.put(piece.start, octets, draw.garbage.then_some(&mut *random));
                    }
                    at = next;
                }
            }
        }
    }

    /// Writes; what lies between the old end and the new octets is zeros or, from `garbage`, anything.
    fn put(&mut self, at: usize, octets: &[u8], garbage: Option<&mut Random>) {
        let end = at + octets.len();
        if self.durable.len() < end {
            let old = self.durable.len();
            self.durable.resize(end, 0);
            if let Some(random) = garbage {
                self.durable[old..end].fill_with(|| random.draw() as u8);
            }
        }
        self.durable[at..end].copy_from_slice(octets);
    }
}
