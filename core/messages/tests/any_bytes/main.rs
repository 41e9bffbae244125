//! Every decoder takes arbitrary bytes without a panic, and what it takes comes back the same.

mod decoders;

use decoders::every_decoder;
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

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn arbitrary_bytes(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        every_decoder(&bytes);
    }

    #[test]
    fn arbitrary_items(bytes in item()) {
        every_decoder(&bytes);
    }

    #[test]
    fn changed_items(bytes in item(), at in any::<prop::sample::Index>(), to in any::<u8>()) {
        let mut bytes = bytes;
        let at = at.index(bytes.len());
        bytes[at] = to;
        every_decoder(&bytes);
        bytes.truncate(at);
        every_decoder(&bytes);
    }
}
