//! What can go wrong with a store. Each variant asks for another act.

/// Why an operation was not done.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// The store cannot take it now (overloaded, locked, closing): nothing was written; try again later.
    #[error("the store cannot answer now: {0}")]
    Unavailable(String),
    /// There is no room on the disk: nothing was written. It goes on by itself when there is room again.
    #[error("there is no room on the disk: {0}")]
    Full(String),
    /// The disk failed while it wrote, and nobody can say what it kept. Nothing is done any more: end the process, so
    /// that the next start looks at what is there.
    #[error("the disk failed: {0}")]
    Broken(String),
    /// This node was silent for longer than its lease and was ended by another one. Nothing is done any more: end the
    /// process, so that the next start joins anew.
    #[error("this node was taken for dead: {0}")]
    Expelled(String),
    /// Something already has that name or key.
    #[error("conflict: {0}")]
    Conflict(String),
    /// What is stored cannot be true: stop and call a person.
    #[error("the store is damaged: {0}")]
    Corrupt(String),
}

/// The result of an operation.
pub type Result<T> = std::result::Result<T, Error>;
