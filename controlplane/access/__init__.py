"""Who may do what with the admin API: roles and rules, admin keys, what a principal reaches and may grant."""
