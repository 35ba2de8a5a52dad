// What a device library says about NCCL where it was built without.
#include "comm/nccl.hpp"
#include "sherd/base/errors.hpp"

namespace sherd::comm {
namespace {

constexpr const char* reason =
    "NCCL: this program was built without NCCL: build it where nccl.h is found, or choose the "
    "local backend";

std::unique_ptr<Communicator> refuse(const NcclSeat&) { throw CommError(reason); }
std::string why_not() { return reason; }

}  // namespace

const Interface& nccl_interface() {
  static constexpr Interface table{.nccl = refuse, .why_no_nccl = why_not};
  return table;
}

}  // namespace sherd::comm
