//! Whose something is, and how much of it each has: tables have a share for each known peer, and one for all
//! strangers together.

use ace_coap::security::PeerId;
use foldhash::fast::RandomState;
use std::collections::HashMap;
use std::net::SocketAddr;

/// Whose something is.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub(crate) enum Owner {
    /// A peer that is known.
    Peer(PeerId),
    /// Somebody unknown who has proven the address.
    Proven(SocketAddr),
    /// A stranger: the address proves nothing.
    Stranger(SocketAddr),
}

/// Counts what each has.
#[derive(Default)]
pub(crate) struct Shares(HashMap<Option<Owner>, usize, RandomState>);

impl Shares {
    /// Strangers have one share together.
    fn pool(owner: &Owner) -> Option<Owner> {
        match owner {
            Owner::Peer(_) | Owner::Proven(_) => Some(owner.clone()),
            Owner::Stranger(_) => None,
        }
    }

    /// Whether two have one share.
    pub(crate) fn are_one(one: &Owner, other: &Owner) -> bool {
        one == other || matches!((one, other), (Owner::Stranger(_), Owner::Stranger(_)))
    }

    /// How much an owner's share holds.
    pub(crate) fn of(&self, owner: &Owner) -> usize {
        self.0.get(&Self::pool(owner)).copied().unwrap_or(0)
    }

    /// One more.
    pub(crate) fn take(&mut self, owner: &Owner) {
        let count = self.0.entry(Self::pool(owner)).or_default();
        *count = count.saturating_add(1);
    }

    /// One less.
    pub(crate) fn give(&mut self, owner: &Owner) {
        let pool = Self::pool(owner);
        if let Some(count) = self.0.get_mut(&pool) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.0.remove(&pool);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strangers_share_and_others_do_not() {
        let (here, there) = (SocketAddr::from(([127, 0, 0, 1], 1)), SocketAddr::from(([127, 0, 0, 1], 2)));
        let mut shares = Shares::default();
        shares.take(&Owner::Stranger(here));
        shares.take(&Owner::Stranger(there));
        shares.take(&Owner::Proven(here));
        assert_eq!((shares.of(&Owner::Stranger(here)), shares.of(&Owner::Proven(here))), (2, 1));
        assert_eq!((shares.of(&Owner::Proven(there)), shares.of(&Owner::Peer(PeerId::new(b"a")))), (0, 0));
        shares.give(&Owner::Stranger(there));
        assert_eq!(shares.of(&Owner::Stranger(there)), 1);
        shares.give(&Owner::Proven(here));
        shares.give(&Owner::Proven(here));
        assert!(shares.of(&Owner::Proven(here)) == 0 && shares.0.len() == 1, "nothing is left of it");
        assert!(Shares::are_one(&Owner::Stranger(here), &Owner::Stranger(there)));
        assert!(!Shares::are_one(&Owner::Proven(here), &Owner::Proven(there)));
        assert!(!Shares::are_one(&Owner::Proven(here), &Owner::Stranger(here)));
    }
}
