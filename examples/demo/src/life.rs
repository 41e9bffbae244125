//! What comes after the join: a member leaves, then the token of another is revoked. Those who stay are rekeyed.

use crate::{Held, Options, Outcome, Shown, held, other};
use ace_backend_daemon::{ProgramError, Running};
use ace_groupcomm::TokenHash;
use ace_groupcomm::command::Command;
use ace_groupcomm::member::{MemberError, Operation};
use ace_member::{Member, MemberSettings, ProgramError as MemberProgramError, event};
use std::sync::mpsc;

type Settings<'a> = &'a MemberSettings;

/// A member that stays open, and what it shows meanwhile.
struct Open<'a> {
    member: Member<'a>,
    shown: mpsc::Receiver<Shown>,
}

impl<'a> Open<'a> {
    fn new(settings: Settings<'a>, options: Options) -> Result<Self, ProgramError> {
        let (sender, shown) = mpsc::channel();
        let observer = move |exchange| drop(sender.send(Shown::Exchange(exchange)));
        Ok(Self { member: Member::open(settings, options.style(), observer).map_err(other)?, shown })
    }

    /// Tells the exchanges and events since this was called last.
    fn tell(&mut self, tell: &mut (impl FnMut(Shown) + Send)) {
        self.shown.try_iter().for_each(&mut *tell);
        for happened in self.member.take_events() {
            tell(Shown::Event(event(&self.member, &happened)));
        }
    }

    async fn run(&mut self, operation: Operation, tell: &mut (impl FnMut(Shown) + Send)) -> Result<(), ProgramError> {
        let done = self.member.run(operation).await;
        self.tell(tell);
        done.map_err(other)
    }

    /// Waits until it has a version newer than this.
    async fn rekeyed(&mut self, had: i64, tell: &mut (impl FnMut(Shown) + Send)) -> Result<(), ProgramError> {
        while self.member.group().is_some_and(|group| group.num <= had) {
            if !self.member.told().await.map_err(other)? {
                return Err(other("nobody has told of a newer version"));
            }
            self.tell(tell);
        }
        Ok(())
    }

    fn num(&self) -> i64 {
        self.member.group().map_or(0, |group| group.num)
    }

    /// Asks as if it were a member, and is refused.
    async fn asks_in_vain(&mut self, tell: &mut (impl FnMut(Shown) + Send)) -> Result<(), ProgramError> {
        let asked = self.member.run(Operation::Version).await;
        self.tell(tell);
        match asked {
            Err(MemberProgramError::Member(MemberError::Refused { .. })) => Ok(()),
            Err(error) => Err(other(error)),
            Ok(()) => Err(other("who is out was answered")),
        }
    }
}

pub(crate) async fn goes_on(
    kdc: &Running,
    (lamp, switch, sensor): (Settings<'_>, Settings<'_>, Settings<'_>),
    joined: Held,
    options: Options,
    tell: &mut (impl FnMut(Shown) + Send),
) -> Result<Outcome, ProgramError> {
    let name = |settings: Settings<'_>| settings.config.name.clone();
    let [mut first, mut second, mut third] =
        [Open::new(lamp, options)?, Open::new(switch, options)?, Open::new(sensor, options)?];
    tell(Shown::Heading(format!("{} and {} observe the group", name(lamp), name(switch))));
    for member in [&mut first, &mut second] {
        member.run(Operation::Observe, tell).await?;
    }

    tell(Shown::Heading(format!("{} leaves, and the others are rekeyed", name(sensor))));
    third.run(Operation::Leave, tell).await?;
    let had = first.num();
    let mut members = Vec::new();
    for member in [&mut first, &mut second] {
        member.rekeyed(had, tell).await?;
        members.push(held(&member.member, options)?);
    }
    let after = Held::new(members);
    tell(Shown::Heading(format!("{} asks for the version, and is refused", name(sensor))));
    third.asks_in_vain(tell).await?;

    tell(Shown::Heading(format!("the token of {} is revoked, and the other is rekeyed", name(switch))));
    let token = second.member.token().ok_or_else(|| other("no token"))?;
    let revoke = Command::Revoke(TokenHash::of(&token.access_token.0));
    kdc.handle().command(revoke).await.map_err(other)?;
    let had = first.num();
    first.rekeyed(had, tell).await?;
    let after_revocation = Held::new(vec![held(&first.member, options)?]);
    tell(Shown::Heading(format!("{} asks for the version, and is refused", name(switch))));
    second.asks_in_vain(tell).await?;
    for open in [first, second, third] {
        open.member.close().map_err(other)?;
    }
    Ok(Outcome { joined, after, left: vec![name(sensor)], after_revocation, revoked: vec![name(switch)] })
}
