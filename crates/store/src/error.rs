//! What can go wrong with a store. Each variant asks for another act.

/// Why an operation was not done.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// The store cannot take it now (disk full, overloaded, closing): nothing was written; try again later.
    #[error("the store cannot answer now: {0}")]
    Unavailable(String),
    /// Something already has that name or key.
    #[error("conflict: {0}")]
    Conflict(String),
    /// What is stored cannot be true: stop and call a person.
    #[error("the store is damaged: {0}")]
    Corrupt(String),
}

/// The result of an operation.
pub type Result<T> = std::result::Result<T, Error>;
