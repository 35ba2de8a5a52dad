// What the emulated device adds: failure on request, stated limits, and an error or a crash for
// whatever a GPU would not allow.
#include <doctest/doctest.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <string>

#include "sherd/comm/interface.hpp"
#include "sherd/kernels/elementwise.hpp"
#include "support/device_under_test.hpp"

using namespace sherd;
using device::Memory;
using device::Ready;
using test::Room;

namespace {

/// An environment variable, for one case.
class Setting {
 public:
  Setting(const char* name, const char* value) : name_(name) { setenv(name, value, 1); }
  ~Setting() { unsetenv(name_); }
  Setting(const Setting&) = delete;
  Setting& operator=(const Setting&) = delete;

 private:
  const char* name_;
};

template <class Call>
std::string refused(Call&& call) {
  try {
    call();
  } catch (const DeviceError& error) {
    return error.what();
  }
  return "not refused";
}
bool has(const std::string& text, const char* part) { return text.find(part) != std::string::npos; }

}  // namespace

TEST_CASE("the emulated device has stated memory, and a second device has its own") {
  const Setting memory("SHERD_EMULATED_MEMORY", "1MiB");
  const device::OpenDevice opened = test::open_device(), second = test::open_device(1);
  CHECK(opened.driver->info().name == "emulated device");
  CHECK(opened.driver->info().memory == mib);
  CHECK(opened.driver->info().uuid != second.driver->info().uuid);
  const Room room(opened, Memory::device, 900 * kib);
  CHECK(opened.driver->info().free == 124 * kib);
  CHECK_THROWS_WITH_AS((void)opened.driver->allocate(Memory::device, 125 * kib),
                       "emulated: device 0 has 124.00 KiB free, need 125.00 KiB", CapacityError);
  const Room other(second, Memory::device, mib);
  const Room pinned(opened, Memory::pinned, 4 * mib);  // no device memory
}

TEST_CASE("no emulated device is an error with a reason, and so is NCCL") {
  const device::Library library = device::open_library(std::string(test::device_library));
  CHECK(library.device->count() == 2);
  const auto* comm = static_cast<const comm::Interface*>(library.comm);
  CHECK(comm->why_no_nccl() == "the emulated device has no NCCL");
  CHECK_THROWS_AS((void)comm->nccl({}), CommError);
  const Setting none("SHERD_EMULATED_DEVICES", "0");
  CHECK_THROWS_WITH_AS((void)library.device->count(), "emulated: there is no device", DeviceError);
}

TEST_CASE("a kernel that fails is heard at the next call, and nothing after it runs or hangs") {
  const Setting fail("SHERD_EMULATED_FAIL", "launch:3");
  const device::OpenDevice opened = test::open_device();
  device::Stream stream(opened), behind(opened);
  const Room room(opened, Memory::device, 1024);
  const View x = room.view({1, 256}, DType::f32);
  Ready ready(opened);
  const AbortWord abort{};
  for (int i = 0; i < 2; ++i) kernels::gelu(x, x, stream);
  device::block(stream, abort);
  CHECK(has(refused([&] {
              for (;;) {
                kernels::gelu(x, x, stream);
                ready.record(stream);
                ready.gate(behind);
                device::block(behind, abort);
              }
            }),
            "emulated: kernel 3 failed, as asked"));
  CHECK(has(refused([&] { (void)opened.driver->allocate(Memory::device, 1); }), "kernel 3"));
}

TEST_CASE("a host that follows a device address crashes") {
  const device::OpenDevice opened = test::open_device();
  const Room room(opened, Memory::device, 100);
  // Asked of the kernel, which answers where the host itself would end by a signal.
  int ends[2];
  REQUIRE(pipe(ends) == 0);
  CHECK(write(ends[1], room.bytes().data(), 1) == -1);
  CHECK(errno == EFAULT);
  close(ends[0]);
  close(ends[1]);
}

TEST_CASE("kernels refuse memory of the host and ranges beyond an allocation") {
  const device::OpenDevice opened = test::open_device();
  device::Stream stream(opened);
  const Room room(opened, Memory::device, 1024);
  const View x = room.view({1, 256}, DType::f32), beyond = room.view({1, 257}, DType::f32);
  float value[256] = {};
  const View host{reinterpret_cast<std::byte*>(value), {1, 256}, DType::f32};
  CHECK(has(refused([&] { kernels::gelu(host, x, stream); }), "not an address of the device"));
  CHECK(has(refused([&] { kernels::scale(beyond, 2, stream); }), "illegal memory access"));
  CHECK(has(refused([&] { device::copy(beyond.raw(), beyond.raw(), stream); }), "1028 bytes"));
}

TEST_CASE("a recording refuses what CUDA refuses") {
  const device::OpenDevice opened = test::open_device();
  device::Driver& driver = *opened.driver;
  device::Stream stream(opened), side(opened), third(opened);
  const Room room(opened, Memory::device, 1024);
  const View x = room.view({1, 256}, DType::f32);
  Ready outside(opened), fork(opened);
  std::byte pageable[16];
  outside.record(side);
  driver.begin_recording(stream.queue());
  CHECK(has(refused([&] { driver.begin_recording(stream.queue()); }), "is being recorded"));
  CHECK(has(refused([&] { outside.gate(stream); }), "put outside of it"));
  CHECK(has(refused([&] { (void)driver.allocate(Memory::device, 1); }), "being recorded"));
  CHECK(has(refused([&] { device::copy(pageable, x.raw().first(16), stream); }), "pageable"));
  fork.record(stream);
  CHECK(has(refused([&] { (void)fork.reached(); }), "put into a recording"));
  fork.gate(side);
  CHECK(has(refused([&] { (void)driver.end_recording(side.queue()); }), "no recording began"));
  kernels::gelu(x, x, side);
  CHECK(has(refused([&] { (void)driver.end_recording(stream.queue()); }), "not joined"));
  CHECK(has(refused([&] { fork.gate(third); }), "has ended"));
  CHECK(has(refused([&] { (void)driver.end_recording(stream.queue()); }), "no recording began"));
}

TEST_CASE("a recording that is thrown away with its queue leaves the others usable") {
  const device::OpenDevice opened = test::open_device();
  device::Stream side(opened);
  const Room room(opened, Memory::device, 1024);
  const View x = room.view({1, 256}, DType::f32);
  Ready fork(opened);
  {
    device::Stream stream(opened);
    opened.driver->begin_recording(stream.queue());
    kernels::gelu(x, x, stream);
    fork.record(stream);
    fork.gate(side);
    kernels::gelu(x, x, side);
  }
  const AbortWord abort{};
  kernels::gelu(x, x, side);
  device::block(side, abort);
  const Room more(opened, Memory::device, 16);
}

TEST_CASE("orders that a recording leaves open are taken at random, those it states are kept") {
  const Setting jitter("SHERD_EMULATED_JITTER", "7");
  const device::OpenDevice opened = test::open_device();
  device::Stream stream(opened), side(opened);
  const Room room(opened, Memory::device, 2048), pinned(opened, Memory::pinned, 4);
  const View x = room.view({1, 256}, DType::f32), y = room.view({1, 256}, DType::f32, 1024);
  const auto trace = [&](bool ordered) {
    Ready fork(opened), join(opened), end(opened);
    const AbortWord abort{};
    kernels::zero(x.raw(), stream);
    kernels::fill_normal(y, 0, 1, 0, {}, stream);
    opened.driver->begin_recording(stream.queue());
    fork.record(stream);
    fork.gate(side);
    for (int i = 0; i < 6; ++i) kernels::add(x, y, x, stream);
    if (ordered) fork.record(stream);
    if (ordered) fork.gate(side);
    kernels::scale(x, 2, side);
    join.record(side);
    join.gate(stream);
    device::copy(pinned.bytes(), x.raw().first(4), stream);
    device::Graph* graph = opened.driver->end_recording(stream.queue());
    opened.driver->launch(*graph, stream.queue());
    end.record(stream);
    end.block(abort);
    opened.driver->drop(graph);
    return *reinterpret_cast<const float*>(pinned.bytes().data());
  };
  CHECK(trace(true) == 12);
  CHECK(trace(false) < 12);
}
