//! Every decoder takes arbitrary bytes without a panic, and what it takes comes back the same.

use ace_groupcomm_messages::{
    Claims, Confirmation, CoseKey, CreationHints, CredsResponse, Cwt, GetCreds, GroupNamesRequest, GroupNamesResponse,
    JoinRefusal, JoinRequest, JoinResponse, KdcCred, KeyDistribution, ProblemDetails, RawCbor, RekeyingMessage, Scope,
    ScopeEntry, Strictness, TokenError, TokenRequest, TokenResponse, TokenTransferRequest, TokenTransferResponse,
    retrieval,
};
use proptest::prelude::*;

/// CBOR items of the kinds that occur in messages, with keys that messages use.
fn item() -> impl Strategy<Value = Vec<u8>> {
    let head = |major: u8, n: usize| match n {
        0..=23 => vec![(major << 5) | n as u8],
        _ => vec![(major << 5) | 24, n as u8],
    };
    let leaf = prop_oneof![
        (0_u8..50).prop_map(move |n| head(0, usize::from(n))),
        (0_u8..30).prop_map(move |n| head(1, usize::from(n))),
        prop::collection::vec(any::<u8>(), 0..20).prop_map(move |b| [head(2, b.len()), b].concat()),
        "[a-z]{0,8}".prop_map(move |t| [head(3, t.len()), t.into_bytes()].concat()),
        prop::sample::select(vec![
            vec![0xf4],
            vec![0xf5],
            vec![0xf6],
            vec![0xf9, 0x3c, 0x00],
            vec![0xd8, 0x3d, 0x40],
            vec![0xf7],
            vec![0xf0],
            vec![0xf8, 0x63],
            vec![0xc2, 0x41, 0x06],
            vec![0x9f, 0xff],
            vec![0x7f, 0x61, 0x61, 0xff]
        ]),
    ];
    leaf.prop_recursive(4, 40, 8, move |inner| {
        let key = prop_oneof![
            (0_u8..50).prop_map(move |n| head(0, usize::from(n))),
            (0_u8..5).prop_map(move |n| head(1, n.into()))
        ];
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6)
                .prop_map(move |items| [head(4, items.len()), items.concat()].concat()),
            prop::collection::btree_map(key, inner, 0..8).prop_map(move |map| {
                [head(5, map.len()), map.into_iter().flat_map(|(k, v)| [k, v]).collect::<Vec<_>>().concat()].concat()
            }),
        ]
    })
}

macro_rules! comes_back {
    ($bytes:expr, $($message:ty),*) => {$(
        if let Ok(message) = <$message>::decode($bytes) {
            prop_assert_eq!(<$message>::decode(&message.encode()), Ok(message), "{}", stringify!($message));
        }
    )*};
}

fn every_decoder(bytes: &[u8]) -> Result<(), TestCaseError> {
    comes_back!(
        bytes,
        Claims,
        Confirmation,
        CreationHints,
        GroupNamesRequest,
        GroupNamesResponse,
        JoinRefusal,
        JoinRequest,
        JoinResponse,
        KdcCred,
        KeyDistribution,
        ProblemDetails,
        RekeyingMessage,
        Scope,
        ScopeEntry,
        TokenError,
        TokenRequest,
        TokenResponse,
        TokenTransferRequest,
        TokenTransferResponse
    );
    if let Ok(Some(message)) = CredsResponse::decode(bytes) {
        prop_assert_eq!(CredsResponse::decode(&message.encode()), Ok(Some(message)));
    }
    if let Ok(message) = GetCreds::decode_request(bytes) {
        prop_assert_eq!(GetCreds::decode_request(&message.encode_request()), Ok(message));
    }
    for strictness in [Strictness::Strict, Strictness::Lax] {
        if let Ok(cwt) = Cwt::decode(bytes, strictness) {
            prop_assert_eq!(&Cwt::decode(&cwt.encode(), Strictness::Lax).map(|c| c.payload), &Ok(cwt.payload));
        }
    }
    if let Ok(raw) = RawCbor::new(bytes) {
        prop_assert_eq!(raw.as_bytes(), bytes);
        let _ = raw.as_uint();
    }
    let _ = CoseKey::decode(bytes);
    if let Ok(policies) = retrieval::decode_policies(bytes) {
        prop_assert_eq!(retrieval::decode_policies(&retrieval::encode_policies(&policies)), Ok(policies));
    }
    if let Ok(num) = retrieval::decode_num(bytes) {
        prop_assert_eq!(retrieval::decode_num(&retrieval::encode_num(num)), Ok(num));
    }
    let _ = retrieval::decode_active(bytes);
    let _ = retrieval::decode_stale_sids(bytes);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn arbitrary_bytes(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        every_decoder(&bytes)?;
    }

    #[test]
    fn arbitrary_items(bytes in item()) {
        every_decoder(&bytes)?;
    }

    #[test]
    fn changed_items(bytes in item(), at in any::<prop::sample::Index>(), to in any::<u8>()) {
        let mut bytes = bytes;
        let at = at.index(bytes.len());
        bytes[at] = to;
        every_decoder(&bytes)?;
        bytes.truncate(at);
        every_decoder(&bytes)?;
    }
}
