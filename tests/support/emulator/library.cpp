// What libsherd_emulated.so exports: the tables of a device library.
#include "sherd/base/errors.hpp"
#include "sherd/comm/interface.hpp"
#include "sherd/optim/interface.hpp"
#include "support/emulator/driver.hpp"
#include "support/emulator/twins.hpp"

namespace sherd::emulator {
namespace {

void decide(const optim::Vote& vote, const optim::DecideConfig& config, optim::Control& control,
            StreamRef stream) {
  put(stream, [votes = real(&vote), config, at = real(&control)](Hands& hands) {
    optim::decide(*votes, config, *at, hands.cpu);
  });
}
void report(const optim::Vote& vote, optim::EvalReport& report, StreamRef stream) {
  put(stream, [votes = real(&vote), at = real(&report)](Hands& hands) {
    optim::report(*votes, *at, hands.cpu);
  });
}

// Of two kinds, as cards of a machine may be.
std::string name(int index) { return index % 2 == 0 ? "emulated device" : "other emulated device"; }

constexpr const char* no_nccl = "the emulated device has no NCCL";
std::unique_ptr<comm::Communicator> nccl(const comm::NcclSeat&) { throw CommError(no_nccl); }
std::string why_no_nccl() { return no_nccl; }

}  // namespace
}  // namespace sherd::emulator

#define SHERD_EXPORT extern "C" __attribute__((visibility("default")))

SHERD_EXPORT const void* sherd_interface_version() {
  static constexpr int version = sherd::device::interface_version;
  return &version;
}
SHERD_EXPORT const void* sherd_device() {
  static constexpr sherd::device::Interface table{.count = sherd::emulator::count,
                                                  .name = sherd::emulator::name,
                                                  .open = sherd::emulator::open};
  return &table;
}
SHERD_EXPORT const void* sherd_kernels() { return &sherd::emulator::twins(); }
SHERD_EXPORT const void* sherd_optim() {
  static constexpr sherd::optim::Interface table{.decide = sherd::emulator::decide,
                                                 .report = sherd::emulator::report};
  return &table;
}
SHERD_EXPORT const void* sherd_comm() {
  static constexpr sherd::comm::Interface table{.nccl = sherd::emulator::nccl,
                                                .why_no_nccl = sherd::emulator::why_no_nccl};
  return &table;
}
