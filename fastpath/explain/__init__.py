"""Why a request ran where it ran: the record of a decision, where records are kept, and the views of one."""
