//! `command_status` values of SMPP 3.4 §5.1.3, by number and by name, so that logs and tables speak the
//! words of the specification. What a status means for a message (try again? give up?) is not decided here:
//! that differs from carrier to carrier.

macro_rules! statuses {
    ($($(#[$doc:meta])* $name:ident = $value:literal;)*) => {
        $($(#[$doc])* pub const $name: u32 = $value;)*

        /// The specification's name of a `command_status`; `None` for vendor-specific and reserved values.
        #[must_use]
        pub const fn name(status: u32) -> Option<&'static str> {
            match status {
                $($value => Some(stringify!($name)),)*
                _ => None,
            }
        }

        /// Every status that has a name, with that name, in rising order.
        pub const ALL: &[(u32, &str)] = &[$(($value, stringify!($name)),)*];
    };
}

statuses! {
    /// No error.
    ESME_ROK = 0x0000_0000;
    /// Message length is invalid.
    ESME_RINVMSGLEN = 0x0000_0001;
    /// Command length is invalid.
    ESME_RINVCMDLEN = 0x0000_0002;
    /// Unknown command id.
    ESME_RINVCMDID = 0x0000_0003;
    /// The command does not fit the bind state.
    ESME_RINVBNDSTS = 0x0000_0004;
    /// Already bound.
    ESME_RALYBND = 0x0000_0005;
    /// Invalid priority flag.
    ESME_RINVPRTFLG = 0x0000_0006;
    /// Invalid registered delivery flag.
    ESME_RINVREGDLVFLG = 0x0000_0007;
    /// System error.
    ESME_RSYSERR = 0x0000_0008;
    /// Invalid source address.
    ESME_RINVSRCADR = 0x0000_000A;
    /// Invalid destination address.
    ESME_RINVDSTADR = 0x0000_000B;
    /// Invalid message id.
    ESME_RINVMSGID = 0x0000_000C;
    /// Bind failed.
    ESME_RBINDFAIL = 0x0000_000D;
    /// Wrong password.
    ESME_RINVPASWD = 0x0000_000E;
    /// Unknown system id.
    ESME_RINVSYSID = 0x0000_000F;
    /// `cancel_sm` failed.
    ESME_RCANCELFAIL = 0x0000_0011;
    /// `replace_sm` failed.
    ESME_RREPLACEFAIL = 0x0000_0013;
    /// Message queue full.
    ESME_RMSGQFUL = 0x0000_0014;
    /// Invalid service type.
    ESME_RINVSERTYP = 0x0000_0015;
    /// Invalid number of destinations.
    ESME_RINVNUMDESTS = 0x0000_0033;
    /// Invalid distribution list name.
    ESME_RINVDLNAME = 0x0000_0034;
    /// Invalid destination flag.
    ESME_RINVDESTFLAG = 0x0000_0040;
    /// Invalid "submit with replace".
    ESME_RINVSUBREP = 0x0000_0042;
    /// Invalid `esm_class`.
    ESME_RINVESMCLASS = 0x0000_0043;
    /// Cannot submit to the distribution list.
    ESME_RCNTSUBDL = 0x0000_0044;
    /// Submit failed.
    ESME_RSUBMITFAIL = 0x0000_0045;
    /// Invalid source type of number.
    ESME_RINVSRCTON = 0x0000_0048;
    /// Invalid source numbering plan.
    ESME_RINVSRCNPI = 0x0000_0049;
    /// Invalid destination type of number.
    ESME_RINVDSTTON = 0x0000_0050;
    /// Invalid destination numbering plan.
    ESME_RINVDSTNPI = 0x0000_0051;
    /// Invalid system type.
    ESME_RINVSYSTYP = 0x0000_0053;
    /// Invalid replace-if-present flag.
    ESME_RINVREPFLAG = 0x0000_0054;
    /// Invalid number of messages.
    ESME_RINVNUMMSGS = 0x0000_0055;
    /// More than the allowed rate.
    ESME_RTHROTTLED = 0x0000_0058;
    /// Invalid scheduled delivery time.
    ESME_RINVSCHED = 0x0000_0061;
    /// Invalid validity period.
    ESME_RINVEXPIRY = 0x0000_0062;
    /// Unknown predefined message id.
    ESME_RINVDFTMSGID = 0x0000_0063;
    /// The receiving program has a temporary error.
    ESME_RX_T_APPN = 0x0000_0064;
    /// The receiving program has a permanent error.
    ESME_RX_P_APPN = 0x0000_0065;
    /// The receiving program rejects the message.
    ESME_RX_R_APPN = 0x0000_0066;
    /// `query_sm` failed.
    ESME_RQUERYFAIL = 0x0000_0067;
    /// Error in the optional part of the PDU.
    ESME_RINVOPTPARSTREAM = 0x0000_00C0;
    /// Optional parameter not allowed.
    ESME_ROPTPARNOTALLWD = 0x0000_00C1;
    /// Invalid parameter length.
    ESME_RINVPARLEN = 0x0000_00C2;
    /// An expected optional parameter is missing.
    ESME_RMISSINGOPTPARAM = 0x0000_00C3;
    /// Invalid value of an optional parameter.
    ESME_RINVOPTPARAMVAL = 0x0000_00C4;
    /// Delivery failed (`data_sm_resp`).
    ESME_RDELIVERYFAILURE = 0x0000_00FE;
    /// Unknown error.
    ESME_RUNKNOWNERR = 0x0000_00FF;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_and_vendor_values_have_none() {
        assert_eq!(name(0x58), Some("ESME_RTHROTTLED"));
        assert_eq!(name(ESME_ROK), Some("ESME_ROK"));
        assert_eq!(name(0x0400), None);
        assert!(ALL.windows(2).all(|pair| pair[0].0 < pair[1].0));
    }
}
