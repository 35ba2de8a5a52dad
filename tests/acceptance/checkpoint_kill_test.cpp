// Runs that end at any moment, and what they go on from.
#include <cstdlib>
#include <filesystem>
#include <random>

#include "acceptance/program.hpp"

using namespace sherd::test;
namespace fs = std::filesystem;

namespace {

const std::string tiny =
    "--layers 1 --width 24 --heads 3 --vocab-size 259 --seq-len 17 --threads 1 --quiet ";

std::vector<std::string> names_in(const std::string& folder) {
  std::vector<std::string> all;
  if (!fs::exists(folder)) return all;
  for (const auto& entry : fs::directory_iterator(folder)) all.push_back(entry.path().filename());
  std::sort(all.begin(), all.end());
  return all;
}
bool only_checkpoints(const std::vector<std::string>& names) {
  return std::ranges::all_of(names, [](const std::string& n) { return n.starts_with("step-"); });
}

/// A folder with text, and one to save into.
struct Workplace {
  ScratchFolder folder;
  std::string text = folder.write("text.txt", sentences(400));
  std::string save = folder.file("save");

  [[nodiscard]] Words command(const std::string& flags, const std::string& log) const {
    return Words{SHERD_BINARY} + words("train " + tiny + flags) +
           Words{"--data", text, "--log", log};
  }
};

/// SIGKILL to all of a run at once; returns when nothing of it is left.
void kill_job(Process& process) {
  process.send(SIGSTOP);
  if (!wait_until([&] {
        const char state = state_of(process.pid()).state;
        return state == 'T' || is_gone(process.pid());
      }))
    return;
  const std::string pid = std::to_string(process.pid());
  std::ifstream children("/proc/" + pid + "/task/" + pid + "/children");
  std::vector<pid_t> all{process.pid()};
  for (pid_t child; children >> child;) all.push_back(child);
  for (const pid_t one : all) REQUIRE(kill(one, SIGKILL) == 0);
  (void)process.wait();
  for (const pid_t one : all) CHECK(wait_until([one] { return is_gone(one); }));
}

/// A run that is killed and goes on until it has come to its end.
class Campaign {
 public:
  explicit Campaign(int ranks)
      : flags_("--steps 25 --ranks " + std::to_string(ranks) +
               (ranks > 1 ? " --zero-stage 3 --overlap on" : "")) {
    const std::string log = place_.folder.file("whole");
    const auto start = std::chrono::steady_clock::now();
    const Outcome whole = run(place_.command(flags_, log));
    took_ = std::chrono::steady_clock::now() - start;
    INFO(whole.err);
    REQUIRE(whole.code == 0);
    hash_ = events(log).back().at("parameters_hash");
  }

  /// Starts or goes on, and kills it at a moment of its time. False when it ended before.
  bool kill_once(std::mt19937_64& random) {
    const std::string log = place_.folder.file("log" + std::to_string(++runs_));
    const std::string save = " --save " + place_.save + " --save-every 1 --keep 2 --resume latest";
    Process process(place_.command(flags_ + save, log));
    // With saves it takes longer: most are killed, some come to their end.
    const double part = std::uniform_real_distribution(0.0, 2.0)(random);
    std::this_thread::sleep_for(took_ * part);
    const bool killed = process.running();
    if (killed) kill_job(process);
    check_resumed(log);
    if (killed) return true;
    const Outcome end = process.wait();
    INFO(end.err);
    REQUIRE(end.code == 0);
    CHECK(events(log).back().at("parameters_hash") == hash_);
    const std::vector<std::string> left = names_in(place_.save);
    CHECK(only_checkpoints(left));
    // One more where a kill came before the oldest was removed and no save after that.
    CHECK((left.size() == 2 || left.size() == 3));
    fs::remove_all(place_.save);
    saved_ = 0;
    return false;
  }
  /// Goes on to the end.
  void end() {
    const std::string log = place_.folder.file("last");
    const Outcome last = run(place_.command(
        flags_ + " --save " + place_.save + " --save-every 1 --keep 2 --resume latest", log));
    INFO(last.err);
    REQUIRE(last.code == 0);
    check_resumed(log);
    CHECK(events(log).back().at("parameters_hash") == hash_);
    CHECK(only_checkpoints(names_in(place_.save)));
  }

 private:
  // What was told to be durable is there.
  void check_resumed(const std::string& log) {
    for (const Json& event : events(log)) {
      if (event.at("event") == "start") {
        const std::uint64_t from =
            event.contains("resumed") ? event.at("resumed").at("step").get<std::uint64_t>() : 0;
        CHECK(from >= saved_);
      }
      if (event.at("event") == "checkpoint") saved_ = event.at("step");
    }
  }

  Workplace place_;
  std::string flags_, hash_;
  std::chrono::steady_clock::duration took_{};
  std::uint64_t saved_ = 0;  // the newest step that was told
  int runs_ = 0;
};

int kills_wanted() {
  const char* text = std::getenv("KILL_RUNS");
  return text != nullptr ? std::atoi(text) : 50;
}

/// A run without end that saves.
struct Endless {
  Workplace place;
  std::string log = place.folder.file("log");
  Process process;

  explicit Endless(const std::string& flags)
      : process(place.command("--steps 100000000 --save " + place.save + " " + flags, log)) {
    REQUIRE(wait_until([this] { return steps() > 4; }));
  }
  [[nodiscard]] std::size_t steps() const { return events(events(log), "step").size(); }
  [[nodiscard]] std::vector<Json> saved() const { return events(events(log), "checkpoint"); }
};

std::size_t count(const std::string& text, const std::string& part) {
  std::size_t found = 0;
  for (std::size_t at = text.find(part); at != text.npos; at = text.find(part, at + 1)) ++found;
  return found;
}

}  // namespace

TEST_CASE("a job that is killed at any moment goes on and ends as if nothing had been") {
  const std::uint64_t seed = std::random_device()();
  MESSAGE("seed " << seed);
  std::mt19937_64 random(seed);
  const int wanted = kills_wanted();
  int kills = 0;
  for (int ranks = 1; ranks <= 3; ++ranks) {
    CAPTURE(ranks);
    Campaign campaign(ranks);
    for (int here = 0; here < (wanted + 3 - ranks) / 3;) {
      if (campaign.kill_once(random)) ++here, ++kills;
    }
    campaign.end();
  }
  CHECK(kills == wanted);
}

TEST_CASE("a second run into the same folder is refused while the first one lives") {
  Endless first("--ranks 2 --save-every 1");
  const std::string log = first.place.folder.file("log2");
  for (const std::string resume : {"", " --resume latest"}) {
    const Outcome second =
        run(first.place.command("--steps 3 --save " + first.place.save + resume, log));
    CHECK(second.code == 2);
    CHECK(second.err.find("another run saves into " + first.place.save) != std::string::npos);
  }
  CHECK(first.process.running());
  first.process.send(SIGINT);
  CHECK(first.process.wait().code == 130);
}

TEST_CASE("terminate saves the last step, from which a run goes on to the same parameters") {
  for (const std::string ranks : {"--ranks 1", "--ranks 3 --zero-stage 3 --overlap on"}) {
    CAPTURE(ranks);
    Endless first(ranks);
    first.process.send(SIGTERM);
    const Outcome outcome = first.process.wait();
    INFO(outcome.err);
    REQUIRE(outcome.code == 143);
    const std::uint64_t step = events(first.log).back().at("steps");
    REQUIRE(first.saved().size() == 1);
    CHECK(first.saved()[0].at("step") == step);
    CHECK(names_in(first.place.save).size() == 1);
    const std::string flags = ranks + " --steps " + std::to_string(step + 3);
    const std::string on = first.place.folder.file("on"), whole = first.place.folder.file("whole");
    CHECK(
        run(first.place.command(flags + " --resume latest --save " + first.place.save, on)).code ==
        0);
    CHECK(run(first.place.command(flags, whole)).code == 0);
    CHECK(events(on).front().at("resumed").at("step") == step);
    CHECK(events(on).back().at("parameters_hash") == events(whole).back().at("parameters_hash"));
  }
}

TEST_CASE("interrupt ends a run without saving") {
  Endless first("--ranks 2");
  first.process.send(SIGINT);
  CHECK(first.process.wait().code == 130);
  CHECK(first.saved().empty());
  CHECK(names_in(first.place.save).empty());
}

TEST_CASE("a request by signal saves, and the run goes on") {
  Endless first("--ranks 2");
  first.process.send(SIGUSR1);
  REQUIRE(wait_until([&] { return first.saved().size() == 1; }));
  const std::size_t then = first.steps();
  REQUIRE(wait_until([&] { return first.steps() > then + 3; }));
  CHECK(names_in(first.place.save).size() == 1);
  first.process.send(SIGINT);
  CHECK(first.process.wait().code == 130);
  CHECK(first.saved().size() == 1);
}

TEST_CASE("a save that fails is one warning and training goes on, but the last one is exit 5") {
  Endless first("--ranks 3");
  fs::remove_all(first.place.save);  // as if the disk had gone
  first.process.send(SIGUSR1);
  const std::size_t then = first.steps();
  REQUIRE(wait_until([&] { return first.steps() > then + 30; }));
  first.process.send(SIGTERM);
  const Outcome outcome = first.process.wait();
  INFO(outcome.err);
  CHECK(outcome.code == 5);
  CHECK(count(outcome.err, "could not be saved: " + first.place.save) >= 1);
  CHECK(count(outcome.err, "could not be saved: " + first.place.save) <= 2);  // two saves
  CHECK(outcome.err.find("No such file or directory") != std::string::npos);
  CHECK(outcome.err.find("the checkpoint of the last step") != std::string::npos);
  CHECK(first.saved().empty());
}

TEST_CASE("a run that diverges while it saves leaves only checkpoints that are whole") {
  const Workplace place;
  const std::string flags = "--steps 50 --ranks 3 --precision fp16 --loss-scale 1e30 --save " +
                            place.save + " --save-every 1 --keep 3";
  CHECK(run(place.command(flags, place.folder.file("log"))).code == 6);
  REQUIRE(!names_in(place.save).empty());
  const std::string log = place.folder.file("on");
  const Outcome on = run(place.command(flags + " --resume latest", log));
  INFO(on.err);
  CHECK(on.code == 6);
  CHECK(on.err.find("passing over") == std::string::npos);
  CHECK(events(log).front().at("resumed").at("step").get<int>() >= 8);
}
