#include "comm/nccl.hpp"
#include "cuda/device/check.hpp"
#include "cuda/device/queue.hpp"
#include "sherd/base/errors.hpp"

namespace sherd::comm {
namespace {

constexpr const char* library_name = "libnccl.so.2";

std::unique_ptr<Communicator> open(const NcclSeat& seat) {
  expects(seat.stream != nullptr, "nccl: got no stream, need one of the device");
  const auto library = open_nccl(library_name);
  cuda::check(cudaSetDevice(seat.stream->queue().device), "cudaSetDevice");  // NCCL takes that one
  return nccl(seat, library, cuda::stream_of(*seat.stream));
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
