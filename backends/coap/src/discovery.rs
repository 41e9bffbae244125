//! `/.well-known/core`: links to resources, filtered by a query (RFC 6690 sections 4 and 5).

use std::sync::{Arc, PoisonError, RwLock};

/// A link to a resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// The path, with its slash in front.
    pub path: String,
    /// Attributes: name and value; a value may hold several words. An empty value gives the name alone.
    pub attributes: Vec<(String, String)>,
}

impl Link {
    /// A link without attributes.
    #[must_use]
    pub fn new(path: impl Into<String>) -> Self {
        Self { path: path.into(), attributes: Vec::new() }
    }

    /// The same link with one attribute more.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.attributes.push((name.into(), value.into()));
        self
    }

    /// Whether a query like `rt=core.osc.gm` or `if=ace.*` selects it. A query without `=` selects all.
    fn matches(&self, query: &str) -> bool {
        let Some((name, wanted)) = query.split_once('=') else { return true };
        let fits = |value: &str| match wanted.strip_suffix('*') {
            Some(prefix) => value.starts_with(prefix),
            None => value == wanted,
        };
        if name == "href" {
            return fits(&self.path);
        }
        // rt and if hold several words, of which one has to fit.
        let several = matches!(name, "rt" | "if" | "rel" | "rev");
        self.attributes
            .iter()
            .filter(|(attribute, _)| attribute == name)
            .any(|(_, value)| if several { value.split(' ').any(fits) } else { fits(value) })
    }
}

impl std::fmt::Display for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "<{}>", self.path)?;
        self.attributes.iter().try_for_each(|(name, value)| {
            if value.is_empty() { write!(f, ";{name}") } else { write!(f, ";{name}=\"{value}\"") }
        })
    }
}

/// Links that may change while servers serve them; clones are the same links.
#[derive(Clone, Debug, Default)]
pub struct Links(Arc<RwLock<Vec<Link>>>);

impl Links {
    /// These links.
    #[must_use]
    pub fn new(links: Vec<Link>) -> Self {
        Self(Arc::new(RwLock::new(links)))
    }

    /// Serves others from now on.
    pub fn set(&self, links: Vec<Link>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = links;
    }

    pub(crate) fn format(&self, queries: &[String]) -> String {
        link_format(&self.0.read().unwrap_or_else(PoisonError::into_inner), queries)
    }
}

/// The links that all queries select, in application/link-format.
#[must_use]
pub fn link_format(links: &[Link], queries: &[String]) -> String {
    let selected = links.iter().filter(|link| queries.iter().all(|query| link.matches(query)));
    selected.map(ToString::to_string).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_select_links() {
        let links = [
            Link::new("/ace-group").with("if", "ace.groups"),
            Link::new("/ace-group/g1").with("rt", "core.osc.gm x").with("if", "ace.group").with("osc", ""),
        ];
        let select = |queries: &[&str]| link_format(&links, &queries.iter().map(|&q| q.into()).collect::<Vec<_>>());
        let (root, group) =
            ("</ace-group>;if=\"ace.groups\"", "</ace-group/g1>;rt=\"core.osc.gm x\";if=\"ace.group\";osc");
        assert_eq!(select(&[]), format!("{root},{group}"));
        assert_eq!(select(&["rt=core.osc.gm"]), group);
        assert_eq!(select(&["rt=x"]), group);
        assert_eq!(select(&["rt=core"]), "");
        assert_eq!(select(&["if=ace.group"]), group);
        assert_eq!(select(&["if=ace.*"]), format!("{root},{group}"));
        assert_eq!(select(&["if=ace.groups"]), root);
        assert_eq!(select(&["href=/ace-group/*"]), group);
        assert_eq!(select(&["rt=core.osc.gm", "if=ace.groups"]), "");
        assert_eq!(select(&["anything"]), format!("{root},{group}"));
    }
}
