//! Sums by user, of which few are not zero.

/// Sums by user. What was added to is known, so that clearing costs no more than adding did.
#[derive(Debug)]
pub(super) struct Sums {
    values: Vec<f64>,
    touched: Vec<u32>,
}

impl Sums {
    pub(super) fn new(users: usize) -> Self {
        Self { values: vec![0.0; users], touched: Vec::new() }
    }

    /// Adds more than zero to the sum of a user.
    pub(super) fn add(&mut self, user: u32, amount: f64) {
        let value = &mut self.values[user as usize];
        if *value == 0.0 {
            self.touched.push(user);
        }
        *value += amount;
    }

    /// The sums that are not zero, in the order in which they were first added to.
    pub(super) fn iter(&self) -> impl ExactSizeIterator<Item = (u32, f64)> + '_ {
        self.touched.iter().map(|user| (*user, self.values[*user as usize]))
    }

    /// Changes each sum that is not zero.
    pub(super) fn change(&mut self, change: impl Fn(u32, f64) -> f64) {
        for user in &self.touched {
            let value = &mut self.values[*user as usize];
            *value = change(*user, *value);
        }
    }

    pub(super) fn get(&self, user: u32) -> f64 {
        self.values[user as usize]
    }

    /// Takes all sums out.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = (u32, f64)> + '_ {
        let values = &mut self.values;
        self.touched.drain(..).map(|user| (user, std::mem::take(&mut values[user as usize])))
    }

    pub(super) fn clear(&mut self) {
        self.drain().for_each(drop);
    }
}
