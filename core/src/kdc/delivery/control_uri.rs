//! Where a member takes requests of the KDC (`control_uri`, RFC 9594 section 4.3.1).
//!
//! A member could name any place, and the KDC would send there again and again. So the place has to be the one that the member asks
//! from: the same scheme, the same address, the same port. A name of a host is none: what it stands for may change. Behind
//! a translation of addresses a member does not know its place; it gives a path alone.

use crate::delivery::ControlRecord;
use crate::engine::store::changes::Changes;
use crate::kdc::scene::{Authorised, GroupState, Scene};
use crate::schema::keys;
use crate::schema::records::MemberRecord;
use ace_groupcomm_messages::paths::ROOT;
use serde_bytes::ByteBuf;
use std::net::{IpAddr, SocketAddr};

/// The port of CoAP (RFC 7252 section 6.1).
const PORT: u16 = 5_683;
/// Longest path, in segments.
const MAX_SEGMENTS: usize = 16;
const SCHEME: &str = "coap://";

/// The address and port of an authority that is an address, with or without a port.
fn address(authority: &str) -> Option<SocketAddr> {
    let parsed = authority.parse::<SocketAddr>().ok();
    let without_port = || {
        let ip = authority.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(authority);
        let ip: IpAddr = ip.parse().ok()?;
        (ip.is_ipv4() != authority.starts_with('[')).then_some(SocketAddr::new(ip, PORT))
    };
    let address = parsed.or_else(without_port)?;
    Some(SocketAddr::new(address.ip().to_canonical(), address.port()))
}

/// A URI of CoAP in two: address, and what follows.
fn split(uri: &str) -> Option<(SocketAddr, &str)> {
    let rest =
        uri.get(..SCHEME.len()).filter(|scheme| scheme.eq_ignore_ascii_case(SCHEME)).and(uri.get(SCHEME.len()..))?;
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at_checked(end)?;
    Some((address(authority)?, path))
}

/// Decodes percent-encoding; none where it is malformed, or no UTF-8.
fn decoded(segment: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(segment.len());
    let mut rest = segment.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let mut digit = || char::from(rest.next()?).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
            let (high, low) = (digit()?, digit()?);
            bytes.push(high << 4 | low);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok()
}

/// The path of a control URI, where the member may be sent requests there: below the place that its request came from. The
/// group-membership resource is never meant (RFC 9594 section 4.3.1).
pub(in crate::kdc) fn path(uri: &str, base: &str) -> Option<Vec<String>> {
    let path = match split(uri) {
        Some((authority, path)) => {
            let (own, _) = split(base)?;
            (authority == own && !own.ip().is_multicast()).then_some(path)?
        }
        None if uri.starts_with('/') && !uri.starts_with("//") => uri,
        None => return None,
    };
    if path.contains(['?', '#']) {
        return None;
    }
    let segments = path.strip_prefix('/')?.split('/').map(decoded).collect::<Option<Vec<String>>>()?;
    let is_membership = matches!(segments.as_slice(), [root, _] if root == ROOT);
    let is_path = segments.len() <= MAX_SEGMENTS && segments.iter().all(|segment| (1..=255).contains(&segment.len()));
    (is_path && !is_membership).then_some(segments)
}

/// Stores where a member, which knows the parameters of this version, takes requests, where that may be sent any. Returns whether it may.
pub(in crate::kdc) fn put(
    scene: &Scene<'_, '_>,
    authorised: &Authorised<'_>,
    group: &GroupState<'_>,
    (member, knows): (&MemberRecord, u64),
    changes: &mut Changes,
) -> bool {
    let key = keys::control(group.id, authorised.holder.id);
    let at = scene.caller.return_address();
    let path = member.control_uri.as_ref().zip(at).and_then(|(uri, at)| path(uri, &at.base));
    match path.zip(at) {
        Some((path, at)) => {
            let to = ByteBuf::from(at.opaque.to_vec());
            let (association, since) = (authorised.holder.held.association.clone(), scene.view.arrived().unix);
            changes.put(key, ControlRecord { path, to, association, since, configured: knows });
            true
        }
        None => {
            changes.delete(key);
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Covers: TH-4-05/own-endpoint, TH-4-05/host-name, TH-4-05/multicast, TH-4-05/other-host, TH-4-05/other-scheme
    // Covers: TH-4-05/other-port, TH-4-05/membership-path, KG-4.3.1-11
    #[test]
    fn a_control_uri_is_below_the_place_that_its_member_asks_from() {
        let own = "coap://192.0.2.1:40000";
        let good = |uri: &str| path(uri, own).map(|path| path.join("/"));
        assert_eq!(good("coap://192.0.2.1:40000/ace-group/g/node"), Some("ace-group/g/node".into()));
        assert_eq!(good("COAP://192.0.2.1:40000/grp-rek"), Some("grp-rek".into()));
        assert_eq!(good("/grp-rek"), Some("grp-rek".into()), "a path alone is its own");
        assert_eq!(good("/a%2Fb/%c3%a4"), Some("a/b/\u{e4}".into()));
        for uri in [
            "coap://192.0.2.1/grp-rek",
            "coap://192.0.2.1:40001/grp-rek",
            "coap://192.0.2.2:40000/grp-rek",
            "coap://lamp.example:40000/grp-rek",
            "coap://localhost:40000/grp-rek",
            "coap://224.0.1.187:40000/grp-rek",
            "coaps://192.0.2.1:40000/grp-rek",
            "coap+tcp://192.0.2.1:40000/grp-rek",
            "http://192.0.2.1:40000/grp-rek",
            "coap://user@192.0.2.1:40000/grp-rek",
            "coap://192.0.2.1:40000",
            "coap://192.0.2.1:40000/",
            "coap://192.0.2.1:40000/a//b",
            "coap://192.0.2.1:40000/a?b",
            "coap://192.0.2.1:40000/a#b",
            "coap://192.0.2.1:40000/ace-group/g",
            "coap://192.0.2.1:40000/ace%2dgroup/g",
            "/ace-group/g",
            "//192.0.2.2/a",
            "/",
            "",
            "/%",
            "/%e4",
            "/%zz",
            "relative",
        ] {
            assert_eq!(path(uri, own), None, "{uri}");
        }
        let long = "/a".repeat(17);
        assert_eq!((path(&long, own), path(&"/a".repeat(16), own).map(|path| path.len())), (None, Some(16)));
        assert_eq!(path(&format!("/{}", "a".repeat(256)), own), None);
    }

    #[test]
    fn one_place_in_several_forms_is_one() {
        for (uri, own) in [
            ("coap://[2001:db8::1]:5683/x", "coap://[2001:db8:0::1]:5683"),
            ("coap://[2001:db8::1]/x", "coap://[2001:db8::1]:5683"),
            ("coap://192.0.2.1/x", "coap://192.0.2.1:5683"),
            ("coap://[::ffff:192.0.2.1]:7/x", "coap://192.0.2.1:7"),
        ] {
            assert_eq!(path(uri, own), Some(vec!["x".into()]), "{uri}");
        }
        for (uri, own) in [
            ("coap://2001:db8::1/x", "coap://[2001:db8::1]:5683"),
            ("coap://[192.0.2.1]/x", "coap://192.0.2.1:5683"),
            ("coap://224.0.1.187/x", "coap://224.0.1.187:5683"),
            ("coap://[ff02::1]/x", "coap://[ff02::1]:5683"),
            ("coap://192.0.2.1/x", "tcp somewhere"),
        ] {
            assert_eq!(path(uri, own), None, "{uri}");
        }
    }
}
