#include "sherd/comm/control_block.hpp"

#include <doctest/doctest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstring>
#include <string>

#include "sherd/base/errors.hpp"
#include "sherd/comm/local.hpp"

namespace {

using namespace sherd;
using comm::ControlBlock;

std::unique_ptr<comm::Communicator> alone(ControlBlock& control) {
  return comm::local({.control = &control, .timeout = std::chrono::seconds(1)});
}

TEST_CASE("a control block is one memory for all who attach") {
  const comm::ControlMapping mine = ControlBlock::create(3);
  const comm::ControlMapping theirs = ControlBlock::attach(dup(mine.fd()));
  CHECK(theirs->world == 3);
  theirs->stop_signal.store(15);
  CHECK(mine->stop_signal.load() == 15);
  CHECK(mine->fail(2, 4, "bad data"));
  CHECK(theirs->abort.cause() == "rank 2: bad data");
  CHECK_FALSE(theirs->fail(1, 3, "too late"));
  CHECK(mine->cause("") == "rank 2: bad data");
}

TEST_CASE("a control block takes 1 to 64 ranks") {
  CHECK_THROWS_AS((void)ControlBlock::create(0), UsageError);
  CHECK_THROWS_AS((void)ControlBlock::create(65), UsageError);
  CHECK(ControlBlock::create(64)->world == 64);
}

TEST_CASE("attach refuses memory that is no control block") {
  const int fd = memfd_create("other", MFD_CLOEXEC);
  REQUIRE(ftruncate(fd, 4096) == 0);
  CHECK_THROWS_AS((void)ControlBlock::attach(fd), CommError);
  REQUIRE(ftruncate(fd, sizeof(ControlBlock)) == 0);
  CHECK_THROWS_AS((void)ControlBlock::attach(fd), CommError);
  CHECK_THROWS_AS((void)ControlBlock::attach(-1), CommError);
}

TEST_CASE("whereabouts tell the collective a rank was in or after") {
  const comm::ControlMapping control = ControlBlock::create(1);
  CHECK(control->whereabouts(0) == "before its first collective");
  const auto comm = alone(*control);
  comm->barrier({"start"});
  comm->barrier({"reduce bucket 1"});
  CHECK(control->whereabouts(0) == "after barrier \"reduce bucket 1\" (collective 2)");
  control->members[0].completed.store(1);
  CHECK(control->whereabouts(0) == "in barrier \"reduce bucket 1\" (collective 2)");
  CHECK(control->call_text(0, 12) == "barrier \"reduce bucket 1\" (collective 2, step 12)");
}

TEST_CASE("a label is cut at 63 characters") {
  const comm::ControlMapping control = ControlBlock::create(1);
  alone(*control)->barrier({std::string(100, 'x')});
  CHECK(control->whereabouts(0) == "after barrier \"" + std::string(63, 'x') + "\" (collective 1)");
}

TEST_CASE("what a crashed rank scribbled becomes harmless text") {
  const comm::ControlMapping control = ControlBlock::create(1);
  std::memset(static_cast<void*>(&control->members), 0xff, sizeof(control->members));
  control->ranks[0].member.store(1);
  const std::string text = control->whereabouts(0);
  for (const char c : text) CHECK((c >= ' ' && c <= '~'));
  CHECK(text.find("an unknown collective") != std::string::npos);
  control->ranks[0].member.store(0xfffffff0);
  CHECK(control->whereabouts(0) == "before its first collective");
  control->members_taken.store(0xfffffff0);
  CHECK_FALSE(control->take_members(1));
  CHECK(control->fail(5, "nobody reads past the records"));
}

TEST_CASE("a cause cut short by its writer's death is replaced") {
  const comm::ControlMapping control = ControlBlock::create(1);
  control->abort.state.store(1);
  CHECK_FALSE(control->fail(5, "mine"));
  CHECK(control->cause("mine") == "mine");
}

TEST_CASE("a world of one needs no peer and no arena") {
  const comm::ControlMapping control = ControlBlock::create(1);
  const auto comm = alone(*control);
  float data[4] = {1, 2, 3, 4}, out[4] = {};
  const View in{reinterpret_cast<std::byte*>(data), {1, 4}, DType::f32};
  const View to{reinterpret_cast<std::byte*>(out), {1, 4}, DType::f32};
  comm->all_reduce(in, to, {"sum"});
  CHECK(out[3] == 4.0f);
  comm->all_gather(to, in, {"gather"});
  comm->broadcast(in, 0, {"weights"});
  CHECK(comm->split(3)->world() == 1);
  CHECK(comm->traffic() == comm::Traffic{});
}

}  // namespace
