"""Commands for what a project shares: keys, quotas, webhooks."""
