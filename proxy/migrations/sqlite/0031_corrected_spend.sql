-- By how much an operator has corrected what an account has spent: what is
-- posted is the sum of its rows and of this.
ALTER TABLE account ADD COLUMN corrected_nanousd INTEGER NOT NULL DEFAULT 0;
