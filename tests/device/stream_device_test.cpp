// What every device owes: copies, marks, order over queues, recordings, limits, peers.
#include <doctest/doctest.h>

#include <algorithm>
#include <cstring>
#include <numeric>
#include <vector>

#include "sherd/kernels/elementwise.hpp"
#include "support/device_under_test.hpp"
#include "support/process.hpp"

using namespace sherd;
using device::Memory;
using device::Ready;
using test::Room;

namespace {

std::vector<std::byte> pattern(std::size_t size, int salt) {
  std::vector<std::byte> bytes(size);
  for (std::size_t i = 0; i < size; ++i)
    bytes[i] = static_cast<std::byte>((i * 7 + static_cast<std::size_t>(salt)) % 251);
  return bytes;
}
std::vector<std::byte> down(std::span<const std::byte> from, StreamRef stream) {
  std::vector<std::byte> bytes(from.size());
  const AbortWord abort{};
  device::copy(bytes, from, stream);
  device::block(stream, abort);
  return bytes;
}
bool are_zero(const std::vector<std::byte>& bytes) {
  return std::all_of(bytes.begin(), bytes.end(), [](std::byte b) { return b == std::byte{0}; });
}
float first_float(const View& view, StreamRef stream) {
  float value = 0;
  std::memcpy(&value, down(view.raw().first(4), stream).data(), 4);
  return value;
}

struct Bench {
  device::OpenDevice opened = test::open_device();
  device::Stream stream{opened};
  AbortWord abort{};
};

std::string hex(const device::PeerHandle& handle) {
  std::string text;
  for (const std::byte b : handle) {
    for (const int digit : {std::to_integer<int>(b) / 16, std::to_integer<int>(b) % 16})
      text += "0123456789abcdef"[digit];
  }
  return text;
}
device::PeerHandle unhex(const std::string& text) {
  device::PeerHandle handle{};
  for (std::size_t i = 0; i < handle.size(); ++i)
    handle[i] = static_cast<std::byte>(std::stoi(text.substr(2 * i, 2), nullptr, 16));
  return handle;
}

}  // namespace

TEST_CASE("memory of a device starts zeroed and carries bytes there and back") {
  SHERD_NEEDS_DEVICE();
  Bench at;
  for (const std::size_t size : {1u, 255u, 4096u, 1000003u}) {
    const Room room(at.opened, Memory::device, size), twin(at.opened, Memory::device, size);
    const Room pinned(at.opened, Memory::pinned, size);
    CHECK(are_zero(down(room.bytes(), at.stream)));
    const std::vector<std::byte> sent = pattern(size, 3);
    std::copy(sent.begin(), sent.end(), pinned.bytes().begin());
    device::copy(room.bytes(), pinned.bytes(), at.stream);
    device::copy(twin.bytes(), room.bytes(), at.stream);
    device::copy(pinned.bytes(), twin.bytes(), at.stream);
    device::block(at.stream, at.abort);
    CHECK(std::equal(sent.begin(), sent.end(), pinned.bytes().begin()));
    CHECK(down(twin.bytes(), at.stream) == sent);
  }
}

TEST_CASE("copies of parts leave their neighbours alone") {
  SHERD_NEEDS_DEVICE();
  Bench at;
  const Room room(at.opened, Memory::device, 100);
  std::vector<std::byte> want(100), sent = pattern(31, 1);
  device::copy(room.bytes().subspan(7, 31), sent, at.stream);
  std::copy(sent.begin(), sent.end(), want.begin() + 7);
  CHECK(down(room.bytes(), at.stream) == want);
  CHECK(down(room.bytes().subspan(10, 5), at.stream) ==
        std::vector<std::byte>(sent.begin() + 3, sent.begin() + 8));
}

TEST_CASE("a device says what it is and how much memory is free") {
  SHERD_NEEDS_DEVICE();
  Bench at;
  const device::DeviceInfo before = at.opened.driver->info();
  CHECK(before.index == 0);
  CHECK_FALSE(before.name.empty());
  CHECK_FALSE(before.version.empty());
  CHECK(before.free <= before.memory);
  const Room room(at.opened, Memory::device, 64 * mib);
  CHECK(at.opened.driver->info().free <= before.free - 64 * mib);
  CHECK(at.opened.driver->info().uuid == before.uuid);
}

TEST_CASE("more memory than there is says so and leaves the device usable") {
  SHERD_NEEDS_DEVICE();
  Bench at;
  const Bytes all = at.opened.driver->info().memory;
  CHECK_THROWS_AS((void)at.opened.driver->allocate(Memory::device, all + gib), CapacityError);
  const Room room(at.opened, Memory::device, 1000);
  CHECK(are_zero(down(room.bytes(), at.stream)));
}

TEST_CASE("a device index beyond the last is refused with the count") {
  SHERD_NEEDS_DEVICE();
  CHECK_THROWS_AS((void)test::open_device(1000), ConfigError);
  CHECK_THROWS_AS((void)test::open_device(-1), ConfigError);
}

TEST_CASE("a mark is reached once the work before it has run, and again when recorded again") {
  SHERD_NEEDS_DEVICE();
  Bench at;
  const Room room(at.opened, Memory::device, 4 * mib), pinned(at.opened, Memory::pinned, 4);
  const View x = room.view({1, 1 << 20}, DType::f32);
  Ready ready(at.opened);
  CHECK(ready.reached());  // nothing recorded is nothing to wait for
  float* seen = reinterpret_cast<float*>(pinned.bytes().data());
  for (int round = 1; round <= 20; ++round) {
    kernels::fill_normal(x, 0, static_cast<float>(round), 0, {}, at.stream);
    device::copy(pinned.bytes(), x.raw().first(4), at.stream);
    ready.record(at.stream);
    ready.block(at.abort);
    CHECK(ready.reached());
    CHECK(*seen == static_cast<float>(round));
  }
}

TEST_CASE("a queue behind a mark sees what the other queue wrote, at every turn") {
  SHERD_NEEDS_DEVICE();
  Bench at;
  device::Stream other(at.opened);
  const Room room(at.opened, Memory::device, 8 * mib);
  const View x = room.view({1, 1 << 20}, DType::f32),
             y = room.view({1, 1 << 20}, DType::f32, 4 * mib);
  Ready there(at.opened), back(at.opened);
  back.gate(at.stream);  // never recorded: nothing to wait for
  for (int round = 1; round <= 100; ++round) {
    kernels::fill_normal(x, 0, static_cast<float>(round), 0, {}, at.stream);
    there.record(at.stream);
    there.gate(other);
    kernels::add(x, y, y, other);
    back.record(other);
    back.gate(at.stream);
  }
  device::block(at.stream, at.abort);
  CHECK(first_float(y, at.stream) == 5050);
  CHECK(first_float(y.reshaped({1 << 20, 1}).rows((1 << 20) - 1, 1), at.stream) == 5050);
}

TEST_CASE("waiting for a busy queue ends when the run is aborted") {
  SHERD_NEEDS_DEVICE();
  Bench at;
  const Room room(at.opened, Memory::device, 64 * mib);
  const View x = room.view({1, 16 << 20}, DType::f32);
  REQUIRE(at.abort.set(5, "a peer was lost"));
  std::string cause;
  for (int work = 4; cause.empty() && work <= 4096;
       work *= 4) {  // until it outlasts the first look
    for (int i = 0; i < work; ++i) kernels::gelu(x, x, at.stream);
    try {
      device::block(at.stream, at.abort);
    } catch (const CommError& error) {
      cause = error.what();
    }
  }
  CHECK(cause == "a peer was lost");
  const AbortWord running{};
  device::block(at.stream, running);
}

TEST_CASE("a recording runs nothing until it is launched, then as often as it is launched") {
  SHERD_NEEDS_DEVICE();
  Bench at;
  device::Driver& driver = *at.opened.driver;
  device::Stream side(at.opened);
  const Room room(at.opened, Memory::device, 3072), pinned(at.opened, Memory::pinned, 1024);
  const View one = room.view({1, 256}, DType::f32), sum = room.view({1, 256}, DType::f32, 1024),
             copy = room.view({1, 256}, DType::f32, 2048);
  kernels::fill_normal(one, 0, 1, 0, {}, at.stream);
  Ready fork(at.opened), join(at.opened), end(at.opened);
  driver.begin_recording(at.stream.queue());
  kernels::add(one, sum, sum, at.stream);
  fork.record(at.stream);
  fork.gate(side);
  device::copy(copy.raw(), sum.raw(), side);
  kernels::scale(copy, 2, side);
  join.record(side);
  join.gate(at.stream);
  device::copy(pinned.bytes(), copy.raw(), at.stream);
  device::Graph* graph = driver.end_recording(at.stream.queue());
  CHECK(first_float(sum, at.stream) == 0);
  for (int round = 1; round <= 50; ++round) {
    driver.launch(*graph, at.stream.queue());
    end.record(at.stream);
    if (round == 40) kernels::zero(sum.raw(), at.stream);
    end.block(at.abort);
    const float* seen = reinterpret_cast<const float*>(pinned.bytes().data());
    CHECK(seen[255] == 2.0f * static_cast<float>(round > 40 ? round - 40 : round));
  }
  driver.drop(graph);
  device::block(at.stream, at.abort);
}

TEST_CASE("a process opens the device memory of another and both see one set of bytes") {
  SHERD_NEEDS_DEVICE();
  Bench at;
  const Room room(at.opened, Memory::device, 100000);
  const std::vector<std::byte> sent = pattern(100000, 9);
  device::copy(room.bytes(), sent, at.stream);
  device::block(at.stream, at.abort);
  const device::PeerHandle handle = at.opened.driver->name_for_peers(room.bytes().data());
  const test::Outcome outcome =
      test::run({"/proc/self/exe", "--no-skip", "--test-case=*the other process*"},
                {.environment = {"SHERD_TEST_PEER=" + hex(handle)}});
  CHECK_MESSAGE(outcome.code == 0, outcome.out, outcome.err);
  CHECK(down(room.bytes(), at.stream) == pattern(100000, 10));
}

TEST_CASE("the other process of the case above" * doctest::skip()) {
  const char* text = std::getenv("SHERD_TEST_PEER");
  if (text == nullptr) return;
  Bench at;
  std::byte* peer = at.opened.driver->open_peer(unhex(text));
  CHECK(down({peer, 100000}, at.stream) == pattern(100000, 9));
  const std::vector<std::byte> reply = pattern(100000, 10);
  device::copy({peer, 100000}, reply, at.stream);
  device::block(at.stream, at.abort);
  at.opened.driver->close_peer(peer);
}

TEST_CASE("a name that no process gave cannot be opened, and the device stays usable") {
  SHERD_NEEDS_DEVICE();
  Bench at;
  CHECK_THROWS_AS((void)at.opened.driver->open_peer(device::PeerHandle{}), CommError);
  const Room room(at.opened, Memory::device, 1000);
  CHECK(are_zero(down(room.bytes(), at.stream)));
}
