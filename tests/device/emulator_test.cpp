// What only the emulated device has: faults on request, limits, and host accesses that crash.
#include <doctest/doctest.h>

#include <cstdlib>
#include <cstring>

#include "sherd/kernels/elementwise.hpp"
#include "support/device_under_test.hpp"

using namespace sherd;
using device::Memory;

TEST_CASE("a kernel of the emulated device gives the CPU's bits") {
  const device::OpenDevice opened = test::open_device();
  const test::Room room(opened, Memory::device, 2 * 257 * 4);
  const test::Room pinned(opened, Memory::pinned, 257 * 4);
  device::Stream stream(opened), cpu(1);
  AbortWord abort{};
  auto* host = reinterpret_cast<float*>(pinned.bytes().data());
  std::vector<float> want(257);
  for (int i = 0; i < 257; ++i) host[i] = want[static_cast<std::size_t>(i)] = float(i - 128) / 16;
  const View in{room.bytes().data(), {1, 257}, DType::f32};
  const View out{room.bytes().data() + 257 * 4, {1, 257}, DType::f32};
  device::copy(in.raw(), pinned.bytes(), stream);
  kernels::gelu(in, out, stream);
  device::copy(pinned.bytes(), out.raw(), stream);
  device::block(stream, abort);
  const View plain{reinterpret_cast<std::byte*>(want.data()), {1, 257}, DType::f32};
  kernels::gelu(plain, plain, cpu);
  CHECK(std::memcmp(host, want.data(), 257 * 4) == 0);
}
