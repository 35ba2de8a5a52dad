// Descriptions of machines in files, good and hostile.
#include <doctest/doctest.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "io/temp_folder.hpp"
#include "sherd/base/errors.hpp"
#include "sherd/plan/machine.hpp"

namespace sherd {
namespace {

const std::string least =
    R"("name": "m", "rates": "measured", "source": "a test", "flops": 1e9, "memory_bandwidth": 2e9,
       "net_bandwidth": 3e9)";

class Descriptions {
 public:
  plan::Machine read(const std::string& text) const {
    return plan::read_machine(folder_.write("machine.json", text));
  }
  std::string problem(const std::string& text) const {
    try {
      (void)read(text);
    } catch (const DataError& error) {
      const std::string said = error.what();
      CHECK(said.starts_with(path()));
      return said.substr(path().size());
    }
    return "nothing";
  }
  std::string path() const { return folder_.path() + "/machine.json"; }

 private:
  test::TempFolder folder_;
};

}  // namespace

TEST_CASE("every described machine can be read and says where its numbers come from") {
  int found = 0;
  for (const auto& entry : std::filesystem::directory_iterator(SHERD_MACHINES)) {
    INFO(entry.path());
    const plan::Machine machine = plan::read_machine(entry.path());
    CHECK(machine.name == entry.path().stem());
    CHECK(machine.source.size() > 40);
    CHECK(machine.flops > 0);
    CHECK(machine.disk_bandwidth > 0);
    CHECK(machine.host_update_bandwidth > 0);
    CHECK(machine.device_memory > 0);
    CHECK(machine.host_memory > 0);
    CHECK(machine.file_capacity > 0);
    ++found;
  }
  CHECK(found >= 4);
}

TEST_CASE("a description gives each number its place, and what it leaves out is not stated") {
  const Descriptions files;
  const plan::Machine short_one = files.read("{" + least + "}");
  CHECK(short_one.name == "m");
  CHECK(short_one.measured);
  CHECK(short_one.flops == 1e9);
  CHECK(short_one.memory_bandwidth == 2e9);
  CHECK(short_one.net_bandwidth == 3e9);
  CHECK(short_one.net_latency == 0);
  CHECK(short_one.efficiency == 1);
  CHECK(short_one.device_memory == 0);
  const plan::Machine m =
      files.read("{" + least +
                 R"(, "half_flops": 4, "efficiency": 0.5, "local_bandwidth": 5, "net_latency": 6,
         "host_bandwidth": 7, "host_update_bandwidth": 8, "disk_bandwidth": 9, "ranks": 10,
         "device_memory": 11, "host_memory": 12, "file_capacity": 13})");
  CHECK(m.half_flops == 4);
  CHECK(m.product_flops(DType::bf16) == 2);
  CHECK(m.product_flops(DType::f32) == 0.5e9);
  CHECK(m.local_bandwidth == 5);
  CHECK(m.net_latency == 6);
  CHECK(m.host_bandwidth == 7);
  CHECK(m.host_update_bandwidth == 8);
  CHECK(m.disk_bandwidth == 9);
  CHECK(m.ranks == 10);
  CHECK(m.device_memory == 11);
  CHECK(m.host_memory == 12);
  CHECK(m.file_capacity == 13);
}

TEST_CASE("keys and values that cannot be are refused by name, all at once") {
  const Descriptions files;
  const auto with = [&](const std::string& more) {
    return files.problem("{" + least + more + "}");
  };
  const auto says = [](const std::string& text, const char* what) {
    INFO(text);
    CHECK(text.find(what) != std::string::npos);
  };
  says(with(R"(, "disk_bandwith": 1)"),
       "unknown key \"disk_bandwith\"; did you mean disk_bandwidth");
  says(with(R"(, "ranks": 0)"), "\"ranks\": got 0, need a whole number from 1.0 to 64.0");
  says(with(R"(, "ranks": 1.5)"), "\"ranks\": got 1.5");
  says(with(R"(, "ranks": 99999999999999999999)"), "\"ranks\": got");
  says(with(R"(, "host_memory": -1)"), "\"host_memory\": got -1");
  says(with(R"(, "host_memory": 1e3)"), "\"host_memory\": got 1000.0, need a whole number");
  says(with(R"(, "host_memory": 18446744073709551615)"), "\"host_memory\": got 184467440737");
  says(with(R"(, "efficiency": 1.01)"), "\"efficiency\": got 1.01");
  says(with(R"(, "efficiency": 0)"), "\"efficiency\": got 0");
  says(with(R"(, "half_flops": "fast")"), "\"half_flops\": got \"fast\", need a number");
  says(with(R"(, "half_flops": null)"), "\"half_flops\": got null");
  says(with(R"(, "half_flops": [1, 2])"), "\"half_flops\": got [1,2]");
  says(with(R"(, "half_flops": 1e999)"), "JSON that cannot be used");
  says(with(R"(, "flops": 1)"), "has the key 'flops' twice");
  says(files.problem("{}"), "\"name\" is missing; \"rates\" is missing; \"source\" is missing");
  says(files.problem("[1]"), "need a machine's description");
  says(files.problem("17"), "need a machine's description");
  says(files.problem(""), "is not valid JSON");
  says(files.problem("{" + least), "is not valid JSON");
  says(files.problem(std::string(100000, ' ')), "");
  says(files.problem(R"({"name": {"a": {"b": {"c": {"d": {}}}}}})"), "nested deeper");
  const std::string all = files.problem(
      R"({"name": "a\u001bb", "rates": "guessed", "source": "", "flops": 0, "x\u001b": 1})");
  for (const char* what :
       {"\"name\": got", "need \"measured\" or \"published peaks\"", "\"source\": got \"\"",
        "\"flops\": got 0", "unknown key \"x?\"", "\"net_bandwidth\" is missing"})
    says(all, what);
  CHECK(all.find('\x1b') == std::string::npos);
  CHECK_THROWS_AS((void)plan::read_machine(files.path() + ".absent"), DataError);
}

TEST_CASE("no cut and no changed byte of a description is taken for another kind of failure") {
  std::ifstream file(std::string(SHERD_MACHINES) + "/h100.json");
  std::ostringstream text;
  text << file.rdbuf();
  const std::string good = text.str();
  const Descriptions files;
  const auto attempt = [&](const std::string& bytes) {
    try {
      (void)files.read(bytes);
    } catch (const DataError&) {
    }
  };
  for (std::size_t cut = 0; cut < good.size(); cut += 7) attempt(good.substr(0, cut));
  for (std::size_t at = 0; at < good.size(); at += 3) {
    std::string bad = good;
    bad[at] = static_cast<char>(bad[at] ^ (1 << (at % 8)));
    attempt(bad);
  }
}

}  // namespace sherd
