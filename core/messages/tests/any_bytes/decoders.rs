//! What holds for each decoder and any bytes. The property tests and the fuzz target share it.

use ace_groupcomm_messages::{
    Claims, Confirmation, CoseKey, CreationHints, CredUpdate, CredsResponse, Cwt, GetCreds, GroupNamesRequest,
    GroupNamesResponse, GroupOscoreInputMaterial, JoinRefusal, JoinRequest, JoinResponse, KdcCred, KdcCredRequest,
    KeyDistribution, ProblemDetails, PubsubKeyingMaterial, RawCbor, RekeyingMessage, Scope, ScopeEntry, Strictness,
    TokenError, TokenRequest, TokenResponse, TokenTransferRequest, TokenTransferResponse, VerifData, retrieval,
};

macro_rules! comes_back {
    ($bytes:expr, $($message:ty),* $(,)?) => {$(
        if let Ok(message) = <$message>::decode($bytes) {
            assert_eq!(<$message>::decode(&message.encode()), Ok(message), "{}", stringify!($message));
        }
    )*};
}

/// Gives the bytes to every decoder: none panics, and what one has read is read again as the same.
pub(crate) fn every_decoder(bytes: &[u8]) {
    comes_back!(
        bytes,
        Claims,
        Confirmation,
        CreationHints,
        GroupNamesRequest,
        GroupNamesResponse,
        CredUpdate,
        KdcCredRequest,
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
        TokenTransferResponse,
        VerifData,
    );
    if let Ok(Some(message)) = CredsResponse::decode(bytes) {
        assert_eq!(CredsResponse::decode(&message.encode()), Ok(Some(message)));
    }
    if let Ok(message) = GetCreds::decode_request(bytes) {
        assert_eq!(GetCreds::decode_request(&message.encode_request()), Ok(message));
    }
    for strictness in [Strictness::Strict, Strictness::Lax] {
        if let Ok(cwt) = Cwt::decode(bytes, strictness) {
            assert_eq!(Cwt::decode(&cwt.encode(), strictness), Ok(cwt));
        }
    }
    if let Ok(raw) = RawCbor::new(bytes) {
        assert_eq!(raw.as_bytes(), bytes);
        let _ = (raw.as_uint(), raw.as_int(), raw.to_text());
        if let Some(map) = raw.to_map().and_then(|entries| RawCbor::map(&entries)) {
            assert_eq!(map.to_map(), raw.to_map());
        }
        if let Ok(material) = GroupOscoreInputMaterial::decode(&raw) {
            assert_eq!(GroupOscoreInputMaterial::decode(&material.encode()), Ok(material));
        }
        if let Ok(material) = PubsubKeyingMaterial::decode(&raw) {
            assert_eq!(PubsubKeyingMaterial::decode(&material.encode()), Ok(material));
        }
    }
    if let Ok(policies) = retrieval::decode_policies(bytes) {
        assert_eq!(retrieval::decode_policies(&retrieval::encode_policies(&policies)), Ok(policies));
    }
    if let Ok(num) = retrieval::decode_num(bytes) {
        assert_eq!(retrieval::decode_num(&retrieval::encode_num(num)), Ok(num));
    }
    if let Ok(key) = CoseKey::decode(bytes) {
        assert_eq!(CoseKey::decode(&key.encode()), Ok(key));
    }
    let _ = (retrieval::decode_active(bytes), retrieval::decode_stale_sids(bytes));
}
