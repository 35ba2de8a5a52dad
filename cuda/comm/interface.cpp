#include "comm/nccl.hpp"
#include "cuda/device/queue.hpp"
#include "sherd/base/errors.hpp"

namespace sherd::comm {
namespace {

constexpr const char* library_name = "libnccl.so.2";

std::unique_ptr<Communicator> open(const NcclSeat& seat) {
  expects(seat.stream != nullptr, "nccl: got no stream, need one of the device");
  return nccl(seat, open_nccl(library_name), cuda::stream_of(*seat.stream));
}

std::string why_not() {
  try {
    (void)open_nccl(library_name);
  } catch (const CommError& error) {
    return error.what();
  }
  return {};
}

}  // namespace

const Interface& nccl_interface() {
  static constexpr Interface table{.nccl = open, .why_no_nccl = why_not};
  return table;
}

}  // namespace sherd::comm
