from scheduler.ask cimport Ask


cpdef weighted_round_robin(object table, object slots, Ask ask=*)
cpdef least_cost(object table, object slots, Ask ask=*)
cpdef least_in_flight(object table, object slots, Ask ask=*)
cpdef consistent_hash(object table, object slots, Ask ask=*)
