//! Templates.

use tidings_domain::id::*;

/// How a template is named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WhichTemplate {
    /// By its id.
    Id(TemplateId),
    /// By its name.
    Name(String),
}
