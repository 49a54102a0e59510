-- One writer of alerts at a time: what a stored alert left open is looked at once, by who brings it again.
lock table alerts in share row exclusive mode
