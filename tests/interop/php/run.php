<?php

// One operation of the real php-resque, for tests/support/foreign_php.py:
//   php run.php '{"server": "127.0.0.1:6379", "database": 0}' OPERATION '[arguments]'
// The answer is a line of JSON. Where the library lies elsewhere, RESQPY_PHP_AUTOLOAD names its autoload.php.

$autoload = getenv('RESQPY_PHP_AUTOLOAD') ?: __DIR__ . '/vendor/autoload.php';
if (!is_file($autoload)) {
    fwrite(STDERR, "there is no $autoload\n");
    exit(3);
}
error_reporting(E_ALL & ~E_DEPRECATED & ~E_USER_DEPRECATED); // the library is older than this PHP
ini_set('display_errors', 'stderr');
require_once $autoload;

$target = json_decode($argv[1] ?? '{}', true);

// A connection of one's own in each process: forked children must not share it.
function note($key, $name, $args)
{
    global $target;
    $server = $target['server'];
    $redis = strpos($server, 'unix:') === 0 ? new Credis_Client($server) : new Credis_Client(...explode(':', $server));
    $redis->select($target['database']);
    $redis->rPush($key, json_encode(array('by' => 'php', 'class' => $name, 'args' => $args)));
}

class Echoed
{
    public function perform()
    {
        note('interop:ran', 'Echoed', $this->args);
    }
}

class Failing
{
    public function perform()
    {
        throw new RuntimeException('boo ' . json_encode($this->args));
    }
}

class Sleeping
{
    public function perform()
    {
        sleep($this->args['s']);
    }
}

function work($queues)
{
    $worker = new Resque_Worker($queues);
    $worker->work(0); // until the queues are empty
    return (string) $worker;
}

$operations = array(
    'ping' => function () {
        return array('php' => PHP_VERSION);
    },
    'enqueue' => function ($queue, $class, $args = null, $monitor = false) {
        return Resque::enqueue($queue, $class, $args, $monitor);
    },
    'enqueue_at' => function ($at, $queue, $class, $args = array()) {
        return ResqueScheduler::enqueueAt($at, $queue, $class, $args);
    },
    'remove_delayed' => function ($queue, $class, $args = array()) {
        return ResqueScheduler::removeDelayed($queue, $class, $args);
    },
    'promote' => function () {
        (new ResqueScheduler_Worker())->handleDelayedItems();
    },
    'work' => 'work',
    'size' => array('Resque', 'size'),
    'queues' => array('Resque', 'queues'),
    'dequeue' => array('Resque', 'dequeue'),
    'status' => function ($id) {
        return (new Resque_Job_Status($id))->get();
    },
    'workers' => function () {
        return array_map('strval', Resque_Worker::all());
    },
    'stat' => function ($name) {
        return Resque_Stat::get($name);
    },
);

if (isset($argv[2])) {
    Resque::setBackend($target['server'], $target['database']);
    $arguments = json_decode($argv[3] ?? '[]', true);
    echo json_encode(call_user_func_array($operations[$argv[2]], $arguments)), "\n";
}
