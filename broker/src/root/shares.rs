//! What one user may take of what all share: openers, and places to wait for one. Pure.
//!
//! Runs in the broker. The rule is dbus-broker's, in its simplest form: a user takes no more than is left
//! for everybody else, so neither one user nor a few together can take everything.

/// Whether a user may have one more of `all`, when each of `holders` has one: only while they hold less than
/// is left, and never more than `most`. Each further user finds half of the rest; root finds what there is.
#[must_use]
pub fn may_take(uid: u32, holders: impl Iterator<Item = u32>, all: usize, most: usize) -> bool {
    let holders: Vec<u32> = holders.collect();
    let held = holders.iter().filter(|holder| **holder == uid).count();
    let left = all.saturating_sub(holders.len());
    held < most && left > if uid == 0 { 0 } else { held }
}

#[cfg(test)]
mod tests {
    use super::may_take;

    /// What these users get who come one after the other and take all they can.
    fn taken(all: usize, most: usize, users: &[u32]) -> Vec<usize> {
        let mut holders = Vec::new();
        for uid in users {
            while may_take(*uid, holders.iter().copied(), all, most) {
                holders.push(*uid);
            }
        }
        let count = |uid| holders.iter().filter(|holder| *holder == uid).count();
        users.iter().map(count).collect()
    }

    #[test]
    fn each_further_user_finds_half_of_the_rest() {
        assert_eq!(taken(240, 64, &[1, 2, 3, 4, 5, 6, 7, 8]), [64, 64, 56, 28, 14, 7, 4, 2]);
        assert_eq!(taken(240, 1000, &[1, 2, 3, 4]), [120, 60, 30, 15]);
    }

    #[test]
    fn four_users_never_take_what_a_fifth_needs() {
        for all in 16..300 {
            let taken = taken(all, 64, &[1, 2, 3, 4, 5]);
            assert!(taken.iter().all(|held| *held > 0), "{taken:?} of {all}");
            assert!(taken.iter().sum::<usize>() <= all, "{taken:?} of {all}");
        }
    }

    #[test]
    fn who_gives_something_back_does_not_get_it_again_before_one_who_has_nothing() {
        // All is taken but one, which the user with 63 has just given back.
        let holders = || std::iter::repeat_n(1, 63).chain(std::iter::repeat_n(2, 176));
        assert!(!may_take(1, holders(), 240, 64));
        assert!(may_take(3, holders(), 240, 64));
    }

    #[test]
    fn root_finds_all_that_is_left_up_to_the_cap() {
        assert_eq!(taken(256, 64, &[1, 2, 3, 4, 0]), [64, 64, 64, 32, 32]);
        assert_eq!(taken(256, 64, &[0]), [64]);
        assert!(!may_take(0, std::iter::repeat_n(1, 256), 256, 64));
    }
}
