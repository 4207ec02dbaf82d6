//! What may go wrong. Each seed switches a random half of it off: so that rare pairs meet, and some things get far.

use std::fmt;

macro_rules! faults {
    ($($(#[doc = $what:literal])* $name:ident $most:literal;)*) => {
        /// A kind of fault.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum Fault {
            $($(#[doc = $what])* $name,)*
        }

        impl Fault {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// The most times in a thousand chances that it may happen; 0 where it has its own times.
            pub const fn most_permille(self) -> u64 {
                match self { $(Self::$name => $most),* }
            }
        }
    };
}

faults! {
    // What a carrier does to a submission.
    /// Its answer is lost; the carrier may have it or not.
    AnswerLost 150;
    /// Its answer comes late: before or after it was given up.
    AnswerLate 150;
    /// Its answer comes twice.
    AnswerDoubled 100;
    /// Refused, and time may cure it.
    RefusedForNow 200;
    /// Refused for good.
    RefusedForGood 80;
    /// Refused: the recipient opted out at the carrier.
    RefusedOptedOut 30;
    /// Refused: our credentials are not good. The connection pauses.
    RefusedOurs 10;
    /// Refused: the queue of that phone is full.
    QueueFull 150;
    /// For some time, most is refused as too much.
    Throttled 0;
    /// The link breaks with what is unanswered.
    LinkBreaks 40;
    /// For some time the link is open and nothing comes through.
    HalfOpen 0;
    /// For some time no link can be opened.
    Outage 0;
    /// What is handed over waits before it is written.
    SlowSocket 60;

    // What a carrier does to a receipt.
    /// It comes before the answer.
    ReceiptEarly 300;
    /// It never comes.
    ReceiptNever 150;
    /// It comes minutes later.
    ReceiptLate 200;
    /// It comes twice or three times.
    ReceiptDoubled 250;
    /// Its id is written in another form than the answer's.
    ReceiptForms 1000;
    /// It gives only our reference back, and an id that nobody knows.
    ReceiptReference 200;
    /// It says that the phone does not have the message.
    ReceiptBad 300;
    /// It says that the recipient opted out.
    ReceiptOptedOut 40;
    /// Before it comes one that says "on its way".
    ReceiptProgress 250;
    /// One comes with its id for another recipient.
    ReceiptStranger 150;
    /// One comes for an id that was never given.
    ReceiptUnknown 150;
    /// Its two addresses are swapped.
    ReceiptSwapped 200;
    /// Ids are short and counted, so that their forms collide.
    IdsCollide 0;
    /// The phone answers.
    Inbound 150;

    // What a receiver of webhooks does to a call.
    /// It has the event, and its answer is lost.
    HookLost 150;
    /// It redirects.
    HookRedirects 100;
    /// It is gone.
    HookGone 8;
    /// It asks to wait.
    HookBusy 100;
    /// It fails.
    HookFails 200;
    /// It never answers.
    HookStalls 60;
    /// For some time it does not accept connections.
    HookDown 0;

    // What the store does to an operation.
    /// It is not done.
    CommitFails 30;
    /// It is done, and said not to be.
    CommitUnknown 15;
    /// It takes its time.
    StoreSlow 30;
    /// A reading fails.
    ReadFails 30;
    /// For some time nothing can be done.
    StoreAway 0;

    // What happens to the process and to its clock.
    /// It ends at any moment.
    Crash 0;
    /// It ends just before or just after a commit.
    CrashAtCommit 4;
    /// It ends just after a submission was written.
    CrashAtSubmission 15;
    /// It is stopped in good order and started again.
    Stop 0;
    /// It is frozen for some time, and wakes up where it was.
    Freeze 0;
    /// The wall clock is set back.
    WallBack 0;
    /// The wall clock is set forward.
    WallForward 0;

    // What customers and operators do.
    /// A caller goes away before the answer.
    HangUp 200;
    /// The answer to a call is lost on its way.
    ReplyLost 200;
    /// People opt out.
    OptOut 0;
    /// Opt-outs are lifted.
    Lift 0;
    /// Messages are taken back.
    Cancel 200;
    /// Messages are scheduled.
    Scheduled 250;
    /// Messages are worth sending for seconds only.
    ShortLife 250;
    /// Messages have several segments.
    Long 300;
    /// Calls come all at once.
    Burst 0;
    /// An operator pauses a connection for some time.
    Paused 0;

    // Settings at the edge.
    /// Windows of one or two.
    SmallWindow 0;
    /// A pace of one or two segments a second.
    SlowPace 0;
    /// Two or three tries.
    FewTries 0;
    /// Queues in memory of one or two places.
    SmallRooms 0;

    // Several nodes.
    /// Two or three nodes serve the database. What happens to a process then happens to one of them.
    SeveralNodes 0;
    /// One of them never submits.
    UnequalNodes 0;
    /// For some time a node's questions do not come to the database, or its answers do not come back.
    CutFromStore 0;
    /// For some time nothing comes through between a node and the carriers.
    CutFromCarriers 0;
    /// Another server takes over from that of the database. Its clock is another.
    Failover 0;
    /// What others commit is not heard of.
    NewsLost 200;

    // What the gate holds.
    /// Marketing has quiet hours: it waits until they end, or it is refused when they begin.
    QuietHours 0;

    // What is counted or noted in a commit.
    /// Some senders have a limit of the day: what is beyond it waits for the next one.
    DailyLimit 0;
    /// Many messages are from whichever sender of a pool fits.
    Pools 0;
    /// So much may be spent in a day and a month.
    SpendLimit 0;
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

/// A set of faults.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Set(u128);

impl Set {
    /// None.
    pub const NONE: Self = Self(0);

    /// With this one.
    #[must_use]
    pub const fn with(self, fault: Fault) -> Self {
        Self(self.0 | 1 << fault as u8)
    }

    /// Without this one.
    #[must_use]
    pub const fn without(self, fault: Fault) -> Self {
        Self(self.0 & !(1 << fault as u8))
    }

    /// Whether this one is in it.
    pub const fn has(self, fault: Fault) -> bool {
        self.0 & (1 << fault as u8) != 0
    }

    /// What is in it.
    pub fn iter(self) -> impl Iterator<Item = Fault> {
        Fault::ALL.iter().copied().filter(move |fault| self.has(*fault))
    }
}

impl fmt::Display for Set {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<String> = self.iter().map(|fault| fault.to_string()).collect();
        f.write_str(&names.join(" "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_has_room_for_all() {
        assert!(Fault::ALL.len() <= 128, "{}", Fault::ALL.len());
        let all = Fault::ALL.iter().fold(Set::NONE, |set, fault| set.with(*fault));
        assert_eq!(all.iter().count(), Fault::ALL.len());
        assert!(!all.without(Fault::Crash).has(Fault::Crash));
    }
}
