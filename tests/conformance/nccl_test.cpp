// comm::nccl over a fake libnccl, with collectives that are complete when the call returns.
#include "conformance/communicator_faults.hpp"
#include "conformance/communicator_suite.hpp"
#include "support/fake_nccl/nccl_ranks.hpp"

namespace conformance {

std::vector<std::string> run_ranks(const Trial& trial, const Body& body) {
  fake_nccl::fake_nccl_reset();
  const auto with = [&](fake_nccl::NcclRank& rank) {
    Seat seat{rank.comm,
              rank.arena,
              rank.control,
              {.left_order = false, .random_rounding = false, .one_rounding = false}};
    body(seat);
  };
  const auto thrown = fake_nccl::run(
      {.world = trial.world, .timeout = trial.timeout, .arena = trial.arena}, {.with = with});
  CHECK(fake_nccl::fake_nccl_communicators() == 0);
  return thrown;
}

}  // namespace conformance
