//! The guide: from what a group key server is for to one of your own. Each page stands alone; the examples are tests.
//!
//! | page | for |
//! | --- | --- |
//! | [group keys with ACE][group_keys] | who meets whom, and why |
//! | [from a token to keys][from_token_to_keys] | the messages, one by one |
//! | [a first run][first_run] | the programs, on one machine |
//! | [write a profile][write_a_profile] | another kind of group |
//! | [write a storage][write_a_storage] | state in a database of yours |
//! | [write a token validator][write_a_token_validator] | tokens of another form, or of a service |
//! | [write a transport][write_a_transport] | another way in which client and KDC know each other |
//! | [embed the KDC][embed_the_kdc] | the engine in your own server |
//! | [operate it][operate_it] | what an operator sees and does |
//! | [the security model][security_model] | whom to trust with what |

macro_rules! pages {
    ($($page:ident),* $(,)?) => {$(
        #[doc = include_str!(concat!("guide/", stringify!($page), ".md"))]
        pub mod $page {}
    )*};
}

pages! {
    group_keys,
    from_token_to_keys,
    first_run,
    write_a_profile,
    write_a_storage,
    write_a_token_validator,
    write_a_transport,
    embed_the_kdc,
    operate_it,
    security_model,
}
