from scheduler.ask cimport Ask


cpdef weighted_round_robin(object table, object slots, Ask ask=*)
cpdef least_cost(object table, object slots, Ask ask=*)
